"""Two processes of each service: calls spread over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import ScriptedServices


@pytest.fixture
def second() -> Iterator[ScriptedServices]:
    """A second process of each service."""
    services = ScriptedServices()
    services.start()
    yield services
    services.stop()


@pytest.fixture
def edge(services: ScriptedServices, second: ScriptedServices, tmp_path: Path, way: str) -> Iterator[RunningEdge]:
    running = RunningEdge(services, tmp_path, http=way == "http", more=[second])
    yield running
    running.stop()


def ask(public: Listener) -> list[int]:
    return [public.post("/predict").status, public.get("/predict/1").status]


@WAYS
def test_calls_spread_over_the_processes_of_a_service(
    public: Listener, services: ScriptedServices, second: ScriptedServices
) -> None:
    """If one process of a service is down, the other one gets its calls."""
    for _ in range(40):
        assert ask(public) == [200, 200]
    for each in (services, second):
        assert len(each.submit.uploads) > 10
        assert len(each.results.downloads) > 10
    second.submit_server.stop()
    second.results_server.stop()
    for _ in range(20):
        assert ask(public) == [200, 200]
