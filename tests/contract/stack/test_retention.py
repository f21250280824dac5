"""After its retention nothing of a workload is left in any store (P5, I9).

The retention here is 10 s. Two processes of results sweep at the same time, as on Kubernetes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import requests
from redis import Redis

from insula.keys import APIS, BUCKET_CHARS, ApiKeys
from insula.stores.object_keys import payload_object, result_object, traceback_object
from insula_local.seaweedfs.storage import BUCKET
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PROBE = Path(__file__).parents[2] / "projects" / "probe"
TRACED = json.dumps({"raise": "x" * 10_000}).encode()
LARGE = json.dumps({"return": {"text": "x" * 100_000}}).encode()
KEYS = ApiKeys("probe")


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Stack]:
    monkeypatch.setenv("INSULA_RETENTION_S", "10")
    async with running_stack([PROBE], data=tmp_path / "data", options=["--processes", "2"]) as stack:
        yield stack


def objects(s3: S3Client) -> list[str]:
    """Return the keys below the API's prefix, unfinished uploads included."""
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="probe/").get("Contents", [])
    unfinished = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="probe/").get("Uploads", [])
    return [str(item.get("Key")) for item in (*found, *unfinished)]


@pytest.mark.slow
async def test_i9_retention_nothing_of_a_workload_or_of_a_deleted_api_is_left_in_any_store(
    stack: Stack,
) -> None:
    api, s3 = HttpApi(f"{stack.public}/probe"), stack.s3()
    with Redis.from_url(stack.info["redis"]) as redis:
        large, traced, small = (api.submit(body, "application/json") for body in (LARGE, TRACED, b"{}"))
        assert len(api.end(large)["result"]["text"]) == 100_000
        assert api.end(small)["status"] == "completed"
        await until(lambda: set(objects(s3)) == {f"probe/{large}/result.1", traceback_object("probe", traced, 1)})
        # The leftovers of processes that were killed during an upload.
        s3.put_object(Bucket=BUCKET, Key=payload_object("probe", "lost"), Body=b"never committed")
        s3.create_multipart_upload(Bucket=BUCKET, Key=payload_object("probe", "half"))
        s3.create_multipart_upload(Bucket=BUCKET, Key=result_object("probe", large, 1))
        redis.zadd(KEYS.uploads, {payload_object("probe", id): 1000 for id in ("lost", "half")})

        await until(lambda: requests.get(f"{api.url}/{large}", timeout=10).status_code == 404, within_s=30)
        await until(lambda: objects(s3) == [], within_s=30)
        await until(lambda: redis.zcard(KEYS.ended) == 0, within_s=30)
        left = cast(list[bytes], redis.keys(f"{KEYS.prefix}*"))
        assert not [key for key in left if b":workload:" in key or b":ended:" in key]
        assert not [
            number for number in cast(dict[bytes, bytes], redis.hgetall(KEYS.counts)).values() if number != b"0"
        ]

        # Without a sweep for a day, the index is left without records. `waiting` is a live workload of the same bucket.
        # It is not the bucket of `large`, which the slower of two sweeps may still be forgetting.
        waiting, gone = (f"f{large[1:-1]}{digit}" for digit in "xy")
        s3.put_object(Bucket=BUCKET, Key=result_object("probe", gone, 1), Body=b"{}")
        s3.create_multipart_upload(Bucket=BUCKET, Key=payload_object("probe", gone))
        s3.put_object(Bucket=BUCKET, Key=payload_object("probe", waiting), Body=b"{}")
        redis.hset(KEYS.workload(waiting), mapping={"status": "in_queue", "attempt": 0, "submitted_ms": 1})
        redis.zadd(KEYS.ended, {gone[:BUCKET_CHARS]: 1000})
        await until(lambda: redis.zcard(KEYS.ended) == 0, within_s=30)
        assert objects(s3) == [payload_object("probe", waiting)]
        redis.delete(KEYS.workload(waiting))

        last = api.run(b"{}", "application/json")
        stack.delete("probe")
        assert requests.get(f"{api.url}/{last['id']}", timeout=10).json()["status"] == "completed"
        await until(lambda: not redis.hexists(APIS, "probe"), within_s=30)
        assert [key for key in cast(list[bytes], redis.keys(f"{KEYS.prefix}*")) if redis.ttl(key) == -1] == []
