from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import ScriptedResults, ScriptedServices, ScriptedSubmit


@pytest.fixture(scope="package")
def started_services() -> Generator[ScriptedServices]:
    services = ScriptedServices()
    services.start()
    yield services
    services.stop()


@pytest.fixture(scope="package")
def edge(started_services: ScriptedServices, tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningEdge]:
    running = RunningEdge(started_services, tmp_path_factory.mktemp("edge"))
    yield running
    running.stop()


@pytest.fixture
def services(started_services: ScriptedServices) -> ScriptedServices:
    """Both services, told and knowing nothing yet."""
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
