"""A service is down. The edge retries a call if this is safe, and otherwise answers 503."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from insula.v1.results_service_pb2 import GetWorkloadRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import ScriptedServices

pytestmark = WAYS

MIB = 1 << 20


@pytest.fixture
def stopped(services: ScriptedServices) -> Iterator[ScriptedServices]:
    """Both services, stopped. They start again at the end."""
    servers = (services.submit_server, services.results_server)
    for server in servers:
        server.stop()
    yield services
    for server in servers:
        server.stop()
        server.start()


def await_retry(edge: RunningEdge, cluster: str, before: int) -> None:
    while edge.statistic(f"cluster.{cluster}.upstream_rq_retry") == before:
        pass


def test_a_request_waits_for_a_restart(public: Listener, stopped: ScriptedServices, edge: RunningEdge) -> None:
    """A request that arrives while the service is down is answered once it listens again."""
    calls = {"submit": lambda: public.post("/predict"), "results": lambda: public.get("/predict/1")}
    servers = {"submit": stopped.submit_server, "results": stopped.results_server}
    with ThreadPoolExecutor() as pool:
        for cluster, call in calls.items():
            before = edge.statistic(f"cluster.{edge.clusters[cluster]}.upstream_rq_retry")
            reply = pool.submit(call)
            await_retry(edge, edge.clusters[cluster], before)
            servers[cluster].start()
            assert reply.result(timeout=60).status == 200
    assert len(stopped.submit.uploads) == len(stopped.results.downloads) == 1


def test_a_lasting_outage_is_503_with_retry_after(public: Listener, stopped: ScriptedServices) -> None:
    """The error is the same for small and large bodies, and its text names no address. For gRPC it is UNAVAILABLE."""
    piece = bytes(MIB)
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    with ThreadPoolExecutor() as pool, grpc.insecure_channel(public.address, options=options) as channel:
        native = ResultsServiceStub(channel).GetWorkload.future(GetWorkloadRequest(api="echo", id="1"), timeout=20)
        small = [pool.submit(public.post, "/predict"), pool.submit(public.get, "/predict/1")]
        large = [pool.submit(public.post, "/predict", body) for body in (piece * 16, (piece for _ in range(16)))]
        for reply in (pending.result(timeout=60) for pending in small + large):
            assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, 14, "1")
            assert reply.error["message"] == "the service does not answer; try again"
        assert native.code() is grpc.StatusCode.UNAVAILABLE


def test_a_submit_that_the_service_has_read_is_never_retried(public: Listener, services: ScriptedServices) -> None:
    """If the service dies during the call, the caller gets an error. The restarted service gets no second upload."""
    services.submit.held = asyncio.Event()
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(public.post, "/predict")
        while not services.submit.uploads:
            pass
        services.submit_server.stop()
        services.submit_server.start()
        assert reply.result(timeout=60).status >= 500
    assert len(services.submit.uploads) == 1


def test_a_read_is_retried_if_its_service_dies(public: Listener, services: ScriptedServices) -> None:
    """A read changes nothing, so it is safe to retry. The caller gets 200."""
    services.results.held = asyncio.Event()
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(public.get, "/predict/1")
        while not services.results.downloads:
            pass
        services.results.held = None
        services.results_server.stop()
        services.results_server.start()
        assert reply.result(timeout=60).status == 200
    assert len(services.results.downloads) == 2
