"""Content-Encoding and Idempotency-Key, from the bytes of a request to the payload that the handler gets."""

from __future__ import annotations

import gzip
import json
import subprocess
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
import requests

from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from tests.contract.stack.conftest import PAYLOAD_BYTES_MAX
from tests.http_api import HttpApi
from tests.processes import memory_mb
from tests.stack import Stack

JSON, TEXT = "application/json", "text/plain"
RETURNED = {"n": 9223372036854775807}
SMALL = json.dumps({"return": RETURNED}).encode()
SUBMIT_GROWTH_MB_MAX = 64


@pytest.fixture
def api(stack: Stack) -> HttpApi:
    return HttpApi(f"{stack.public}/probe")


@pytest.fixture
def accepted(stack: Stack) -> Callable[[], int]:
    """Return a function that counts the workloads which the API has accepted."""
    return lambda: sum(stack.counts("probe").values())


def post(api: HttpApi, body: bytes | Iterator[bytes], content_type: str = JSON, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(api.url, data=body, headers={"Content-Type": content_type, **named}, timeout=60)


def refusal(reply: requests.Response, status: int) -> tuple[str, str]:
    """Check the shape of an error. Return its reason and text."""
    assert (reply.status_code, reply.headers["content-type"]) == (status, JSON), reply.text
    error: dict[str, Any] = reply.json()
    assert sorted(error) == ["code", "details", "message"]
    return error["details"][0]["reason"], error["message"]


def sent_in_chunks(body: bytes) -> Iterator[bytes]:
    yield from (body[start : start + 5_000] for start in range(0, len(body), 5_000))


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_gzip_of_json_reaches_the_handler_as_json(api: HttpApi, encoding: str) -> None:
    reply = post(api, gzip.compress(SMALL), content_encoding=encoding)
    assert api.end(reply.json()["id"])["result"] == RETURNED


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("characters", [10, 60_000, 12_000_000])
def test_gzip_of_text_of_any_size_reaches_the_handler_as_text(api: HttpApi, characters: int, chunked: bool) -> None:
    """It is stored in the queue, in S3 as one object, or in S3 in parts. It is sent with a length or chunked."""
    text = (bytes(Random(7).choices(b"abcdefgh", k=20_000)) * (characters // 20_000 + 1))[:characters]
    body = gzip.compress(text, 1)
    reply = post(api, sent_in_chunks(body) if chunked else body, TEXT, content_encoding="gzip")
    assert api.end(reply.json()["id"])["result"] == {"type": "str", "length": characters}


def test_identity_means_no_encoding(api: HttpApi) -> None:
    reply = post(api, SMALL, content_encoding="identity")
    assert api.end(reply.json()["id"])["result"] == RETURNED


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_other_content_types_are_not_decoded(api: HttpApi, encoding: str) -> None:
    """The handler gets the bytes of the body."""
    body = gzip.compress(SMALL)
    reply = post(api, body, "application/x-blob", content_encoding=encoding)
    assert api.end(reply.json()["id"])["result"] == {"type": "bytes", "length": len(body)}


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_another_encoding_of_json_and_text_is_415(api: HttpApi, accepted: Callable[[], int], encoding: str) -> None:
    before = accepted()
    for content_type in (JSON, TEXT):
        reason, message = refusal(post(api, SMALL, content_type, content_encoding=encoding), 415)
        assert reason == "ENCODING_UNSUPPORTED"
        assert f"'{encoding}'" in message
        assert "send gzip or identity" in message
    assert accepted() == before


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        SMALL,
        b"",
        zlib.compress(SMALL),
        gzip.compress(SMALL)[:-1],
        gzip.compress(SMALL) + b"x",
        gzip.compress(Random(7).randbytes(200_000))[:-1],
        gzip.compress(Random(7).randbytes(200_000)) + b"garbage",
    ],
    ids=["no gzip", "nothing", "zlib", "cut off", "garbage after it", "large and cut off", "large, garbage after it"],
)
def test_a_body_that_is_not_valid_gzip_is_400_and_makes_no_workload(
    stack: Stack, api: HttpApi, accepted: Callable[[], int], body: bytes, chunked: bool
) -> None:
    before, stored = accepted(), objects(stack)
    reason, message = refusal(post(api, sent_in_chunks(body) if chunked else body, content_encoding="gzip"), 400)
    assert reason == "ENCODING_INVALID"
    assert "gzip" in message
    assert accepted() == before
    assert objects(stack) <= stored


def objects(stack: Stack) -> set[str]:
    """Return the keys of the API's objects, unfinished uploads included."""
    stored = stack.s3().list_objects_v2(Bucket="insula", Prefix="probe/").get("Contents", [])
    unfinished = stack.s3().list_multipart_uploads(Bucket="insula", Prefix="probe/").get("Uploads", [])
    return {str(one.get("Key")) for one in [*stored, *unfinished]}


def test_a_zip_bomb_is_413_and_takes_little_memory(stack: Stack, api: HttpApi, accepted: Callable[[], int]) -> None:
    """A few kB of gzip decompress to one byte more than the limit. The limit applies to the decompressed size."""
    [submit] = stack.processes("submit")
    before, before_mb, stored = accepted(), memory_mb(submit), objects(stack)
    Path(f"/proc/{submit}/clear_refs").write_text("5", encoding="ascii")
    bomb = gzip.compress(bytes(PAYLOAD_BYTES_MAX + 1))
    reason, message = refusal(post(api, bomb, TEXT, content_encoding="gzip"), 413)
    assert (reason, str(PAYLOAD_BYTES_MAX) in message) == ("PAYLOAD_TOO_LARGE", True)
    assert objects(stack) <= stored
    assert memory_mb(submit, "VmHWM") - before_mb < SUBMIT_GROWTH_MB_MAX
    assert accepted() == before
    whole = post(api, gzip.compress(bytes(PAYLOAD_BYTES_MAX)), TEXT, content_encoding="gzip")
    assert whole.status_code == 200, "a payload of exactly the limit is accepted"


def test_a_repeated_submit_may_have_another_encoding(api: HttpApi) -> None:
    """The idempotency key is bound to the decoded payload."""
    key = str(uuid.uuid4())
    replies = [post(api, SMALL, idempotency_key=key)]
    replies += [
        post(api, gzip.compress(SMALL, level), content_encoding="gzip", idempotency_key=key) for level in (1, 9)
    ]
    assert len({reply.json()["id"] for reply in replies}) == 1
    other = post(api, gzip.compress(b"[]"), content_encoding="gzip", idempotency_key=key)
    assert refusal(other, 409)[0] == "IDEMPOTENCY_CONFLICT"


def test_a_quoted_idempotency_key_equals_the_unquoted_one(stack: Stack, api: HttpApi) -> None:
    """Over HTTP and gRPC. Both refuse a key that starts with a quote but is not a quoted string."""
    key = str(uuid.uuid4())
    ids = {post(api, SMALL, idempotency_key=sent).json()["id"] for sent in (key, f'"{key}"')}
    with grpc.insecure_channel(
        stack.public.removeprefix("http://"), options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        submit = SubmitServiceStub(channel).SubmitWorkload
        request = SubmitWorkloadRequest(api="probe", content_type=JSON, payload=SMALL)
        for sent in (key, f'"{key}"'):
            ids.add(submit(request, metadata=(("idempotency-key", sent),), timeout=30).id)
        assert len(ids) == 1
        call = submit.future(request, metadata=(("idempotency-key", f'"{key}'),), timeout=30)
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Idempotency-Key" in refusal(post(api, SMALL, idempotency_key=f'"{key}'), 400)[1]


def test_a_grpc_caller_may_send_gzip_too(stack: Stack) -> None:
    """The metadata content-encoding has the meaning of the HTTP header. gRPC's own compression is independent of it."""
    with grpc.insecure_channel(
        stack.public.removeprefix("http://"), options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        submit = SubmitServiceStub(channel).SubmitWorkload
        request = SubmitWorkloadRequest(api="probe", content_type=JSON, payload=gzip.compress(SMALL))
        id = submit(request, metadata=(("content-encoding", "gzip"),), timeout=30).id
        assert HttpApi(f"{stack.public}/probe").end(id)["result"] == RETURNED
        for encoding in ("br", "gzip"):
            broken = SubmitWorkloadRequest(api="probe", content_type=JSON, payload=SMALL)
            call = submit.future(broken, metadata=(("content-encoding", encoding),), timeout=30)
            assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
        own = submit(
            SubmitWorkloadRequest(api="probe", content_type=JSON, payload=SMALL), compression=grpc.Compression.Gzip
        )
        assert HttpApi(f"{stack.public}/probe").end(own.id)["result"] == RETURNED


@pytest.mark.parametrize("options", [("--http1.1",), ("-0",), ("--http2-prior-knowledge",)], ids=str)
def test_curl_may_wait_for_100_continue(api: HttpApi, tmp_path: Path, options: tuple[str, ...]) -> None:
    """One body is accepted and one is refused."""
    text = b"x" * 3_000_000
    for name, body, encoding in (("good", gzip.compress(text, 0), "gzip"), ("bad", text, "br")):
        (tmp_path / name).write_bytes(body)
        headers = ("-H", f"Content-Type: {TEXT}", "-H", f"Content-Encoding: {encoding}", "-H", "Expect: 100-continue")
        command = ("curl", "-sS", *options, *headers, "-w", " %{http_code}", "--data-binary", f"@{tmp_path / name}")
        done = subprocess.run([*command, api.url], capture_output=True, text=True, timeout=60, check=True)
        answer, _, status = done.stdout.rpartition(" ")
        assert (name, status) in (("good", "200"), ("bad", "415")), done
        if name == "good":
            found: Mapping[str, object] = api.end(json.loads(answer)["id"])["result"]
            assert found == {"type": "str", "length": len(text)}
