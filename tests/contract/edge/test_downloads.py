"""GET and HEAD: the service's bytes, streamed."""

from __future__ import annotations

from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import ScriptedResults

MIB = 1 << 20
MEMORY_GROWTH_MB_MAX = 24


def test_a_read_answers_the_services_bytes(public: Listener, results: ScriptedResults) -> None:
    """I8: numbers, spaces and the order of keys are the service's own."""
    results.pieces = [b'{"id": "1",  "z":9223372036854775807, ', b'"a":1.0,"big":123456789012345678901234567890}']
    reply = public.get("/a/b/1")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body == b"".join(results.pieces)
    assert not [name for name in reply.headers if name.startswith(("grpc-", "x-envoy-"))]
    assert results.downloads[0].path == "a/b/1"


def test_a_large_download_streams_through(public: Listener, results: ScriptedResults, edge: RunningEdge) -> None:
    """64 MiB in pieces of 1 MiB, none of which Envoy keeps."""
    results.pieces = [bytes([index]) * MIB for index in range(64)]
    edge.reset_peak_memory()
    before = edge.peak_memory_mb()
    reply = public.get("/predict/1")
    assert reply.body == b"".join(results.pieces)
    assert edge.peak_memory_mb() - before < MEMORY_GROWTH_MB_MAX


def test_head_answers_as_get_without_the_body(public: Listener, results: ScriptedResults) -> None:
    """The service sees an ordinary read; x-envoy-original-method says HEAD, for one that wants to save the work."""
    reply = public.call("HEAD", "/predict/1")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "application/json", b"")
    assert results.downloads[0].path == "predict/1"
    assert results.metadata["x-envoy-original-method"] == "HEAD"


def test_health_is_the_edges_own(public: Listener, internal: Listener, results: ScriptedResults) -> None:
    """H12: 200 and the text ok, on every host name; no service is asked."""
    for reply in (public.get("/healthz"), internal.get("/healthz"), internal.get("/healthz", host="api-echo:8888")):
        assert (reply.status, reply.headers["content-type"], reply.body) == (200, "text/plain", b"ok")
    assert public.call("HEAD", "/healthz").status == 200
    assert results.downloads == []
