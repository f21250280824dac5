"""A read on the inner listener can request the handler's traceback. A read on the public listener cannot."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from insula.stores.tracebacks import METADATA
from insula.v1.results_service_pb2 import DownloadWorkloadRequest, GetWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import ScriptedResults

PARAMETERS = ("?traceback=1", "?x=y&traceback=1", "?traceback=1&x=y", "?traceback=0&traceback=1", "?a?&traceback=1")


@pytest.mark.parametrize("query", PARAMETERS)
def test_the_parameter_requests_a_traceback_inside_the_cluster(
    internal: Listener, results: ScriptedResults, query: str
) -> None:
    """The parameter `traceback=1` works with the host of an API and with the path of an endpoint.

    The service receives metadata instead of the query.
    """
    for target, host in ((f"/1{query}", "api-predict:8888"), (f"/predict/1{query}", "localhost")):
        assert internal.get(target, host=host).status == 200
        assert results.metadata[METADATA] == "1"
    assert results.downloads == [
        DownloadWorkloadRequest(api="predict", id="1"),
        DownloadWorkloadRequest(path="predict/1"),
    ]


@pytest.mark.parametrize(
    "query", ["", "?", "?traceback", "?traceback=", "?traceback=0", "?traceback=11", "?xtraceback=1"]
)
def test_no_other_query_requests_a_traceback(internal: Listener, results: ScriptedResults, query: str) -> None:
    """Neither another value of the parameter, nor `traceback=1` in the path, requests a traceback."""
    assert internal.get(f"/1{query}", host="api-predict:8888").status == 200
    assert METADATA not in results.metadata
    internal.get("/predict/traceback=1", host="localhost")
    assert METADATA not in results.metadata


@pytest.mark.parametrize("query", PARAMETERS)
def test_the_public_listener_drops_parameter_and_metadata(
    public: Listener, results: ScriptedResults, query: str
) -> None:
    for name in (METADATA, METADATA.title()):
        for host in ("localhost", "api-predict:8888"):
            assert public.call("GET", f"/predict/1{query}", headers={name: "1", "host": host}).status == 200
            assert results.metadata
            assert METADATA not in results.metadata
            results.metadata = {}


def reads(channel: grpc.Channel) -> list[Callable[[], object]]:
    """Return the two calls that return a failure, with metadata that requests its traceback."""
    stub, metadata = ResultsServiceStub(channel), ((METADATA, "1"),)
    get, download = GetWorkloadRequest(api="predict", id="1"), DownloadWorkloadRequest(api="predict", id="1")
    return [
        lambda: stub.GetWorkload(get, timeout=10, metadata=metadata),
        lambda: list(stub.DownloadWorkload(download, timeout=10, metadata=metadata)),
    ]


@pytest.mark.parametrize("listener", ["public", "internal"])
def test_metadata_of_a_grpc_call_requests_a_traceback_inside_the_cluster_only(
    public: Listener, internal: Listener, results: ScriptedResults, listener: str
) -> None:
    address = (public if listener == "public" else internal).address
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        for read in reads(channel):
            results.metadata = {}
            read()
            assert results.metadata
            assert (METADATA in results.metadata) == (listener == "internal")


@pytest.mark.parametrize(("listener", "requested"), [("public", False), ("internal", True)])
def test_metadata_of_a_grpc_web_call_requests_a_traceback_inside_the_cluster_only(
    public: Listener, internal: Listener, results: ScriptedResults, listener: str, requested: bool
) -> None:
    caller = public if listener == "public" else internal
    reply = caller.post(
        "/insula.v1.ResultsService/GetWorkload?traceback=1",
        b"\0\0\0\0\0",
        content_type="application/grpc-web+proto",
        x_insula_traceback="1",
    )
    assert reply.status == 200
    assert (METADATA in results.metadata) == requested
