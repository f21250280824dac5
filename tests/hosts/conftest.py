"""One fleet that the tests of this folder share. Each test begins with a network without faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.environments import python_of
from tests.hosts.fleet import Fleet
from tests.hosts.network import Network
from tests.waiting import until_blocking

PROJECT = Path(__file__).parent.parent / "projects" / "hosts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.containers)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """A fleet with two workers of `job`, and one worker of each other API of the project."""
    await python_of(PROJECT)  # no package index can be reached from a host
    folder = tmp_path_factory.mktemp("hosts")
    with Network(folder) as network:
        fleet = Fleet(network, folder, ("job", "caller", "caller-unconfined"))
        fleet.start()
        for number in range(2):
            fleet.start_worker("job", network.host(f"job-{number}"))
        fleet.start_worker("caller", network.host("caller-0"))
        fleet.start_worker("caller-unconfined", network.host("caller-1"), INSULA_ISOLATION="off")
        fleet.deploy(PROJECT)
        until_blocking(lambda: len(fleet.workers("job")) == 2)
        yield fleet


@pytest.fixture
def fleet(one_fleet: Fleet) -> Iterator[Fleet]:
    """The shared fleet. Its parts run, and its network has no faults, before the test and after it."""
    one_fleet.check_parts()
    yield one_fleet
    one_fleet.network.mend()
    one_fleet.check_parts()
