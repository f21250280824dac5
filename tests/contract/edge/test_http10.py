"""HTTP/1.0. nginx uses it for the servers behind it, and ApacheBench for all requests."""

from __future__ import annotations

import hashlib

import pytest

from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from tests.contract.edge import raw
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import WORKLOAD_ID, ScriptedServices

HEAD = b"POST /predict HTTP/1.0\r\nContent-Type: text/plain\r\n"


@pytest.fixture(params=["public", "internal"])
def listener(request: pytest.FixtureRequest, public: Listener, internal: Listener) -> Listener:
    return public if request.param == "public" else internal


def answers(listener: Listener, data: bytes) -> list[raw.RawReply]:
    return raw.http1(("127.0.0.1", listener.port), data)


@WAYS
def test_a_submit_and_a_read_need_no_host(listener: Listener, services: ScriptedServices) -> None:
    """HTTP/1.0 does not require Host. It has no chunks, so the end of the connection ends the answer."""
    [submitted] = answers(listener, HEAD + b"Content-Length: 5\r\n\r\nhello")
    assert (submitted.status, submitted.body) == (200, f'{{"id":"{WORKLOAD_ID}"}}'.encode())
    assert services.submit.uploads[0].sha256 == hashlib.sha256(b"hello").hexdigest()
    [read] = answers(listener, b"GET /predict/1 HTTP/1.0\r\n\r\n")
    assert (read.status, read.body) == (200, b"".join(services.results.pieces))
    assert "transfer-encoding" not in read.headers
    [healthy] = answers(listener, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (healthy.status, healthy.body) == (200, b"ok")


def test_the_host_selects_the_api_in_http_1_0_too(internal: Listener, services: ScriptedServices) -> None:
    data = b"POST / HTTP/1.0\r\nHost: api-echo:8888\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx"
    assert [reply.status for reply in answers(internal, data)] == [200]
    assert services.submit.uploads[0].first.api == "echo"


@WAYS
def test_a_connection_is_kept_alive_for_a_client_that_asks(listener: Listener, services: ScriptedServices) -> None:
    """`ab -k` sends `Connection: keep-alive`. The answer has this header too, and a length."""
    kept = HEAD + b"Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello"
    first, second, last = answers(listener, kept + kept + HEAD + b"Content-Length: 5\r\n\r\nhello")
    assert [reply.headers["connection"] for reply in (first, second, last)] == ["keep-alive", "keep-alive", "close"]
    assert {reply.status for reply in (first, second, last)} == {200}
    assert len(services.submit.uploads) == 3


@pytest.mark.parametrize("framing", [b"\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"])
def test_a_post_without_a_length_is_411(listener: Listener, services: ScriptedServices, framing: bytes) -> None:
    """Without a length, the edge cannot find the end of the body. HTTP/1.0 has no chunks."""
    [reply] = answers(listener, HEAD + framing)
    assert reply.status == 411
    assert b'"code":3' in reply.body
    assert b"Content-Length" in reply.body
    assert services.submit.uploads == []


def test_grpc_web_works_over_http_1_0(listener: Listener, services: ScriptedServices) -> None:
    head = b"POST /insula.v1.SubmitService/SubmitWorkload HTTP/1.0\r\nContent-Type: application/grpc-web\r\n"
    message = raw.message_frame(SubmitWorkloadRequest(api="echo").SerializeToString())
    [reply] = answers(listener, head + b"Content-Length: %d\r\n\r\n" % len(message) + message)
    assert (reply.status, [request.api for request in services.submit.submits]) == (200, ["echo"])
    assert b"grpc-status:0" in reply.body


def test_all_errors_have_the_same_shape(listener: Listener, services: ScriptedServices) -> None:
    replies = answers(listener, b"PUT /predict HTTP/1.0\r\n\r\n") + answers(listener, b"GET /%zz HTTP/1.0\r\n\r\n")
    assert [reply.status for reply in replies] == [405, 400]
    assert all(reply.body.startswith(b'{"code":') for reply in replies)
