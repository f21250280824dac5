"""The SeaweedFS of `insula up`: it is durable, and it separates Insula's bucket from the buckets of handlers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from insula_local.parts import Parts
from insula_local.seaweedfs.storage import BUCKET
from tests.contract.local.conftest import Bench, prepare, s3_client
from tests.processes import descendants
from tests.waiting import until

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

LARGE = os.urandom(10_000_000)


async def test_i1_durable_accept_seaweedfs_keeps_answered_writes_through_kill_9(bench: Bench, parts: Parts) -> None:
    seaweedfs = await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    s3 = s3_client(parts)
    for number in range(50):
        s3.put_object(Bucket=BUCKET, Key=f"small/{number}", Body=b"%d" % number)
    s3.put_object(Bucket=BUCKET, Key="large", Body=LARGE)
    assert seaweedfs.pid is not None
    os.kill(seaweedfs.pid, signal.SIGKILL)
    await until(lambda: bench.watched.was_ready.count("seaweedfs") == 2, within_s=30)
    await until(lambda: _read(s3, "large") == LARGE)
    kept = [b"%d" % number for number in range(50)]
    await until(lambda: [_read(s3, f"small/{number}") for number in range(50)] == kept)
    s3.put_object(Bucket=BUCKET, Key="later", Body=b"written after the restart")


async def test_objects_survive_a_restart_of_the_stack_on_other_ports(
    bench: Bench, make_parts: Callable[[], Parts]
) -> None:
    """The data directory and its keys are the same."""
    first = make_parts()
    await bench.start_ready(first.seaweedfs())
    await prepare(bench, first)
    s3_client(first).put_object(Bucket=BUCKET, Key="kept", Body=LARGE)
    await bench.end()
    second = make_parts()
    assert second.s3_endpoint != first.s3_endpoint
    assert second.data.keys == first.data.keys
    await bench.start_ready(second.seaweedfs())
    await bench.start_ready(second.envoy())
    await until(lambda: _read(s3_client(second), "kept") == LARGE)


async def test_objects_are_synced_to_disk_before_their_put_is_answered(bench: Bench, parts: Parts) -> None:
    """A rule of the filer syncs the content, and SQLite syncs the names. SeaweedFS logs that it uses SQLite."""
    await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    log = parts.seaweedfs().log
    await until(lambda: b"filer store to sqlite" in log.read_bytes())
    assert (parts.data.seaweedfs / "filer.db").exists()


async def test_many_buckets_share_volumes_and_are_deleted_separately(bench: Bench, parts: Parts) -> None:
    await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    s3 = s3_client(parts, handlers=True)
    names = [f"bucket-{number}" for number in range(80)]
    for name in names:
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="key", Body=name.encode())
    for name in names[:5]:
        s3.delete_object(Bucket=name, Key="key")
        s3.delete_bucket(Bucket=name)
    bodies = [s3.get_object(Bucket=name, Key="key")["Body"].read().decode() for name in names[5:]]
    assert bodies == names[5:]
    assert len(list(parts.data.seaweedfs.glob("*.dat"))) < 10


async def test_handlers_use_their_own_buckets_and_cannot_access_ours(bench: Bench, parts: Parts) -> None:
    await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    ours, theirs = s3_client(parts), s3_client(parts, handlers=True)
    ours.put_object(Bucket=BUCKET, Key="payload", Body=b"somebody's")

    theirs.create_bucket(Bucket="models")
    theirs.put_object(Bucket="models", Key="weights", Body=LARGE)
    assert theirs.get_object(Bucket="models", Key="weights")["Body"].read() == LARGE
    assert [found.get("Key") for found in theirs.list_objects_v2(Bucket="models").get("Contents", [])] == ["weights"]
    assert [bucket.get("Name") for bucket in theirs.list_buckets()["Buckets"]] == ["models"]

    for name, attempt in _attempts_on_our_bucket(theirs).items():
        with pytest.raises(ClientError) as refused:
            attempt()
        status = refused.value.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        assert status == 403, f"{name} was answered with {status}"
    theirs.delete_objects(
        Bucket=BUCKET, Delete={"Objects": [{"Key": "payload"}]}
    )  # the answer is 200, with a list of refusals
    assert _read(ours, "payload") == b"somebody's"
    assert [found.get("Key") for found in ours.list_objects_v2(Bucket=BUCKET).get("Contents", [])] == ["payload"]

    theirs.delete_object(Bucket="models", Key="weights")
    theirs.delete_bucket(Bucket="models")


async def test_anonymous_clients_can_only_read_the_objects_of_handlers(bench: Bench, parts: Parts) -> None:
    """`Config(signature_version=UNSIGNED)` works as with a public bucket of Amazon S3."""
    await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    s3_client(parts).put_object(Bucket=BUCKET, Key="payload", Body=b"somebody's")
    theirs = s3_client(parts, handlers=True)
    theirs.create_bucket(Bucket="models")
    theirs.put_object(Bucket="models", Key="weights", Body=b"public")
    unsigned = Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1})
    anybody = boto3.client("s3", endpoint_url=parts.s3_endpoint, region_name="us-east-1", config=unsigned)

    assert anybody.head_object(Bucket="models", Key="weights")["ContentLength"] == 6
    assert _read(anybody, "weights", "models") == b"public"
    assert [found.get("Key") for found in anybody.list_objects_v2(Bucket="models").get("Contents", [])] == ["weights"]
    attempts = _attempts_on_our_bucket(anybody) | {
        "put": lambda: anybody.put_object(Bucket="models", Key="weights", Body=b"forged"),
        "delete": lambda: anybody.delete_object(Bucket="models", Key="weights"),
        "copy": lambda: anybody.copy_object(Bucket="models", Key="copied", CopySource="models/weights"),
        "create": lambda: anybody.create_bucket(Bucket="more"),
        "list owners": lambda: anybody.list_objects_v2(Bucket=".system"),
    }
    for name, attempt in attempts.items():
        with pytest.raises(ClientError) as refused:
            attempt()
        status = refused.value.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        assert status == 403, f"{name} was answered with {status}"
    assert _read(theirs, "weights", "models") == b"public"


def _attempts_on_our_bucket(s3: S3Client) -> dict[str, Callable[[], object]]:
    def copy_a_part() -> object:
        upload = s3.create_multipart_upload(Bucket="models", Key="stolen")["UploadId"]
        return s3.upload_part_copy(
            Bucket="models", Key="stolen", UploadId=upload, PartNumber=1, CopySource=f"{BUCKET}/payload"
        )

    return {
        "get": lambda: s3.get_object(Bucket=BUCKET, Key="payload"),
        "head": lambda: s3.head_object(Bucket=BUCKET, Key="payload"),
        "list": lambda: s3.list_objects_v2(Bucket=BUCKET),
        "head bucket": lambda: s3.head_bucket(Bucket=BUCKET),
        "put": lambda: s3.put_object(Bucket=BUCKET, Key="payload", Body=b"forged"),
        "delete": lambda: s3.delete_object(Bucket=BUCKET, Key="payload"),
        "copy": lambda: s3.copy_object(Bucket="models", Key="stolen", CopySource=f"{BUCKET}/payload"),
        "copy a part": copy_a_part,
        "multipart": lambda: s3.create_multipart_upload(Bucket=BUCKET, Key="forged"),
        "tag": lambda: s3.put_object_tagging(
            Bucket=BUCKET, Key="payload", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
        ),
        "delete bucket": lambda: s3.delete_bucket(Bucket=BUCKET),
        "change policy": lambda: s3.put_bucket_policy(Bucket=BUCKET, Policy='{"Version":"2012-10-17","Statement":[]}'),
    }


async def test_only_s3_can_be_reached_and_it_requires_a_signature(bench: Bench, parts: Parts) -> None:
    """SeaweedFS has its own network namespace. The filer's Unix socket requires a token, also from the same user."""
    seaweedfs = await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    s3_client(parts).put_object(Bucket=BUCKET, Key="payload", Body=b"somebody's")
    assert seaweedfs.pid is not None
    inside = {pid for pid, command in descendants(seaweedfs.pid).items() if "mini" in command}
    assert inside
    assert {Path(f"/proc/{pid}/ns/net").readlink() for pid in inside}.isdisjoint({Path("/proc/self/ns/net").readlink()})
    for path in (f"/buckets/{BUCKET}/payload", "/buckets/"):
        assert curl(parts.socket("filer"), path) == 401
    for url in (f"{parts.s3_endpoint}/{BUCKET}/payload", f"{parts.s3_endpoint}/{BUCKET}"):
        reply = requests.get(url, timeout=5)
        assert (reply.status_code, b"somebody's" in reply.content) == (403, False), url


async def test_a_web_page_cannot_read_objects(bench: Bench, parts: Parts) -> None:
    """S3 sends no CORS headers. It refuses a Host that is not its own, as after DNS rebinding."""
    await bench.start_ready(parts.seaweedfs())
    await prepare(bench, parts)
    theirs = s3_client(parts, handlers=True)
    theirs.create_bucket(Bucket="models")
    theirs.put_object(Bucket="models", Key="weights", Body=b"public")
    port = urlsplit(parts.s3_endpoint).port
    for path in ("/", "/models", "/models/weights"):
        page = {"origin": "http://page.example", "access-control-request-method": "GET"}
        for method in ("GET", "OPTIONS"):
            reply = requests.request(method, parts.s3_endpoint + path, headers=page, timeout=5)
            assert [name for name in reply.headers if name.lower().startswith("access-control-")] == []
        for host in ("page.example", f"page.example:{port}", f"127.0.0.1.page.example:{port}"):
            rebound = requests.get(parts.s3_endpoint + path, headers={"host": host}, timeout=5)
            assert (rebound.status_code, b"public" in rebound.content) == (403, False)


def curl(socket: Path, path: str) -> int:
    """Return the HTTP status of a GET over a Unix socket."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(socket)]
    done = subprocess.run([*command, f"http://localhost{path}"], capture_output=True, check=True, timeout=30)
    return int(done.stdout)


def _read(s3: S3Client, key: str, bucket: str = BUCKET) -> bytes | None:
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (ClientError, BotoCoreError):
        return None
