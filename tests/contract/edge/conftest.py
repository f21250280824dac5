from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping

import pytest
import pytest_asyncio

from tests.contract.edge import raw
from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import ScriptedResults, ScriptedServices, ScriptedSubmit
from tests.contract.local.test_refusals import write_project
from tests.stack import Stack, running_stack


@pytest.fixture(scope="package")
def started_services() -> Generator[ScriptedServices]:
    services = ScriptedServices()
    services.start()
    yield services
    services.stop()


WAYS = pytest.mark.parametrize("way", ["http", "grpc"])
"""How the edge sends callers' HTTP requests to the services: short ones over HTTP/1.1, or all over gRPC."""


@pytest.fixture(scope="package")
def edges(
    started_services: ScriptedServices, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Mapping[str, RunningEdge]]:
    running = {
        way: RunningEdge(started_services, tmp_path_factory.mktemp(way), http=way == "http") for way in ("http", "grpc")
    }
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture
def way() -> str:
    """Return the way that a stack uses. A test with the mark WAYS runs once for each way."""
    return "http"


@pytest.fixture
def edge(edges: Mapping[str, RunningEdge], way: str) -> RunningEdge:
    return edges[way]


@pytest.fixture
def services(started_services: ScriptedServices) -> ScriptedServices:
    """The fakes of submit and results. Their recorded calls and scripted answers have been cleared."""
    started_services.reset()
    return started_services


@pytest.fixture
def submit(services: ScriptedServices) -> ScriptedSubmit:
    return services.submit


@pytest.fixture
def results(services: ScriptedServices) -> ScriptedResults:
    return services.results


@pytest.fixture
def public(edge: RunningEdge) -> Listener:
    return edge.public


@pytest.fixture
def internal(edge: RunningEdge) -> Listener:
    return edge.internal


ECHO = "- {name: echo, kind: AsyncAPI, handler: {type: python, path: handler.py}}\n"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    """A whole stack with the API `echo`, for tests that attack it."""
    folder = tmp_path_factory.mktemp("whole")
    handler = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"
    async with running_stack([write_project(folder / "project", ECHO, handler)], data=folder / "data") as running:
        yield running


@pytest.fixture(scope="package")
def idle(stack: Stack) -> Iterator[list[socket.socket]]:
    """One connection to each listener of the stack, opened before the first attack. It never sends a byte."""
    connections = [socket.create_connection(raw.place(url)) for url in (stack.public, stack.internal)]
    yield connections
    for connection in connections:
        connection.close()
