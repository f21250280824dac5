"""POST: the payload is the body, byte for byte. Its content type is the header Content-Type."""

from __future__ import annotations

import hashlib
import json

import pytest

from insula.ids import new_id
from tests.contract.edge import raw
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import PAYLOAD_BYTES_MAX, Listener, RunningEdge
from tests.contract.edge.scripted_services import WORKLOAD_ID, ScriptedSubmit
from tests.waiting import until_blocking

pytestmark = WAYS

MIB = 1 << 20
MEMORY_GROWTH_MB_MAX = 24


def test_a_submit_returns_the_id(public: Listener, submit: ScriptedSubmit) -> None:
    """H1, H8: the status is 200, and the body is {"id": …} with the content type of JSON."""
    reply = public.post("/predict", b'{"a": 1}')
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert json.loads(reply.body) == {"id": WORKLOAD_ID}
    assert not [name for name in reply.headers if name.startswith(("grpc-", "x-envoy-"))]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.api+json",
        "text/plain; charset=latin-1",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=----x",
        "Image/PNG",
        "not a media type",
    ],
)
def test_content_type_and_body_arrive_verbatim(public: Listener, submit: ScriptedSubmit, content_type: str) -> None:
    """The edge does not parse, decode or rewrite the body or the header, whatever the content type is."""
    body = b'{"a":1.0, "b": 9223372036854775807}\x00\xff\r\n'
    assert public.post("/predict", body, content_type=content_type).status == 200
    [upload] = submit.uploads
    assert upload.first.payload.content_type == content_type
    assert upload.sha256 == hashlib.sha256(body).hexdigest()


def test_an_empty_body_is_one_message(public: Listener, submit: ScriptedSubmit) -> None:
    """The service receives the endpoint and the content type although there is no payload."""
    assert public.post("/predict", b"").status == 200
    [upload] = submit.uploads
    assert (upload.messages, upload.payload_bytes) == (1, 0)
    assert (upload.first.endpoint, upload.first.payload.content_type) == ("predict", "application/json")


def test_a_missing_content_type_arrives_empty_and_is_refused(public: Listener, submit: ScriptedSubmit) -> None:
    """H6: the status is 400, and the body is JSON. The service refuses the call, not the edge."""
    reply = public.call("POST", "/predict", b"{}")
    assert (reply.status, reply.error["code"]) == (400, 3)
    assert reply.error["message"] == "the Content-Type header is missing"
    assert submit.uploads[0].first.payload.content_type == ""


def test_a_large_upload_streams_through(public: Listener, submit: ScriptedSubmit, edge: RunningEdge) -> None:
    """H10: 64 MiB with a length and 64 MiB in chunks arrive in pieces of at most 1 MiB. Envoy does not buffer them."""
    piece = bytes(range(256)) * 4096
    body = piece * (PAYLOAD_BYTES_MAX // MIB)
    edge.reset_peak_memory()
    before = edge.peak_memory_mb()
    assert public.post("/predict", body, content_type="x/y").status == 200
    assert public.post("/predict", (piece for _ in range(PAYLOAD_BYTES_MAX // MIB)), content_type="x/y").status == 200
    assert [upload.payload_bytes for upload in submit.uploads] == [PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX]
    assert {upload.sha256 for upload in submit.uploads} == {hashlib.sha256(body).hexdigest()}
    assert min(upload.messages for upload in submit.uploads) >= PAYLOAD_BYTES_MAX // MIB
    assert edge.peak_memory_mb() - before < MEMORY_GROWTH_MB_MAX


def test_a_declared_length_over_the_limit_is_413_without_a_call_of_the_service(
    public: Listener, submit: ScriptedSubmit
) -> None:
    """The error names the limit, PAYLOAD_BYTES_MAX."""
    length = str(PAYLOAD_BYTES_MAX + 1)
    reply = public.call("POST", "/predict", b"x", {"content-type": "x/y", "content-length": length})
    assert (reply.status, reply.error["code"]) == (413, 3)
    assert str(PAYLOAD_BYTES_MAX) in str(reply.error["message"])
    assert '"reason":"PAYLOAD_TOO_LARGE"' in reply.body.decode()
    assert submit.uploads == []


def test_chunks_over_the_limit_are_413(public: Listener, submit: ScriptedSubmit) -> None:
    """Without a declared length, the service receives a part of the body. Then the edge cancels its call."""
    pieces = (bytes(MIB) for _ in range(PAYLOAD_BYTES_MAX // MIB + 1))
    reply = public.post("/predict", pieces, content_type="x/y")
    assert (reply.status, reply.error["code"]) == (413, 3)
    assert submit.uploads[0].sha256 == "", "the service must not receive the end of the upload"


def test_idempotency_key_and_request_id_reach_the_service(public: Listener, submit: ScriptedSubmit) -> None:
    """H7: the edge keeps the client's x-request-id and returns it. If there is none, the edge makes one."""
    reply = public.post("/predict", idempotency_key="k1", x_request_id="mine")
    assert reply.headers["x-request-id"] == "mine"
    metadata = submit.uploads[0].metadata
    assert (metadata["idempotency-key"], metadata["x-request-id"]) == ("k1", "mine")
    assert len(public.post("/predict").headers["x-request-id"]) == 36


def test_a_request_id_that_is_a_workloads_id_is_not_changed(public: Listener, internal: Listener) -> None:
    """By default, Envoy writes its decision on tracing into a digit of a UUID. The edge must not do this."""
    id = new_id()
    assert public.post("/predict", x_request_id=id).headers["x-request-id"] == id
    assert internal.post("/", host="api-predict:8888", x_request_id=id).headers["x-request-id"] == id


def test_slow_callers_of_short_bodies_occupy_no_connection_to_the_service(
    public: Listener, submit: ScriptedSubmit, edge: RunningEdge
) -> None:
    """The edge calls the service when the whole body has arrived."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"
    slow = [raw.connect(("127.0.0.1", public.port)) for _ in range(100)]
    for connection in slow:
        connection.sendall(head + b"a")
    assert public.post("/predict").status == 200
    until_blocking(lambda: edge.statistic("http.public.downstream_rq_active") == 100)
    assert len(submit.uploads) == 1 if edge.clusters["submit"] == "submit_http" else 101
    for connection in slow:
        connection.sendall(b"b")
        assert raw.receive(connection).startswith(b"HTTP/1.1 200")
        connection.close()
    assert len(submit.uploads) == 101
