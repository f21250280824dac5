"""GET and HEAD: the edge streams the service's bytes unchanged."""

from __future__ import annotations

import grpc

from tests.contract.edge import raw
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import Refusal, ScriptedResults

pytestmark = WAYS

MIB = 1 << 20
MEMORY_GROWTH_MB_MAX = 24


def test_a_read_returns_the_services_bytes(public: Listener, results: ScriptedResults) -> None:
    """I8: numbers, spaces and the order of keys do not change."""
    results.pieces = [b'{"id": "1",  "z":9223372036854775807, ', b'"a":1.0,"big":123456789012345678901234567890}']
    reply = public.get("/a/b/1")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body == b"".join(results.pieces)
    assert not [name for name in reply.headers if name.startswith(("grpc-", "x-envoy-"))]
    assert results.downloads[0].path == "a/b/1"


def test_a_large_download_streams_through(public: Listener, results: ScriptedResults, edge: RunningEdge) -> None:
    """The service sends 64 MiB in pieces of 1 MiB. Envoy does not buffer them."""
    results.pieces = [bytes([index]) * MIB for index in range(64)]
    edge.reset_peak_memory()
    before = edge.peak_memory_mb()
    reply = public.get("/predict/1")
    assert reply.body == b"".join(results.pieces)
    assert edge.peak_memory_mb() - before < MEMORY_GROWTH_MB_MAX


def test_head_answers_as_get_without_the_body(public: Listener, results: ScriptedResults) -> None:
    """The service receives a normal read. Only x-envoy-original-method is HEAD, so that a service can skip the work."""
    reply = public.call("HEAD", "/predict/1")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "application/json", b"")
    assert results.downloads[0].path == "predict/1"
    assert results.metadata["x-envoy-original-method"] == "HEAD"


def test_the_edge_answers_healthz_itself(public: Listener, internal: Listener, results: ScriptedResults) -> None:
    """H12: Envoy itself sends status 200 and the body `ok`, for every host name. No service receives a call."""
    for reply in (public.get("/healthz"), internal.get("/healthz"), internal.get("/healthz", host="api-echo:8888")):
        assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/plain", b"ok")
    assert public.call("HEAD", "/healthz").status == 200
    assert results.downloads == []


def test_head_never_has_a_body(public: Listener, results: ScriptedResults) -> None:
    """A client would read the body of an answer or error as the start of the next answer."""
    results.pieces = [b"{" + b" " * 100_000, b"}"]
    head = b"HEAD /predict/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    for refusal, status in ((None, b"200 OK"), (Refusal(grpc.StatusCode.NOT_FOUND, "no"), b"404 Not Found")):
        results.refusal = refusal
        with raw.connect(("127.0.0.1", public.port)) as connection:
            connection.sendall(head)
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                received += connection.recv(1 << 16)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while data := raw.receive(connection):
                received += data
        answers = received.split(b"\r\n\r\n")
        assert [answers[0].partition(b"\r\n")[0], answers[2:]] == [b"HTTP/1.1 " + status, [b"ok"]]


def test_head_never_has_a_body_over_http_2(public: Listener, results: ScriptedResults) -> None:
    pseudo = [(b":method", b"HEAD"), (b":scheme", b"http"), (b":path", b"/predict/1"), (b":authority", b"x")]
    with raw.Http2(("127.0.0.1", public.port)) as connection:
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS | raw.END_STREAM, 1, raw.block(pseudo)))
        connection.read_until_ended([1])
    assert (connection.replies[1].status, connection.replies[1].body) == (200, b"")
