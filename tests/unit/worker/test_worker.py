"""The end of a worker's loops, on a stop and when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from insula.registry import Registration, Registry
from insula.rpc.server import Server
from insula.stores.objects import ObjectStore
from insula.stores.redis_client import connect
from insula.v1 import worker_service_pb2
from insula_worker.attempts.claiming import Claiming
from insula_worker.runners.observers import Observers
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings
from insula_worker.worker import Worker
from tests.handler_output import Printed


class Health:
    """Stands in for the gRPC server. Stores the latest health status."""

    def __init__(self) -> None:
        self.serving: bool | None = None

    async def set_serving(self, serving: bool) -> None:
        self.serving = serving

    async def set_alive(self, alive: bool) -> None:
        self.alive = alive


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of releases in each report. No API is registered, and no claim returns."""
    reported: list[int] = []

    async def report(_: Registry, api: str, worker: str, releases: Sequence[worker_service_pb2.Worker]) -> None:
        reported.append(len(releases))

    async def every(_: Registry) -> dict[str, Registration]:
        return {}

    async def claim_for_ever(_: Claiming) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Registry, "report", report)
    monkeypatch.setattr(Registry, "all", every)
    monkeypatch.setattr(Claiming, "claim_for_ever", claim_for_ever)
    return reported


@pytest.fixture
def worker(tmp_path: Path) -> tuple[Worker, Health]:
    url = "redis://127.0.0.1:1"
    environment = {"INSULA_API": "a", "INSULA_LISTEN": "unix:/nowhere", "INSULA_REDIS_URL": url}
    settings = Settings.read({**environment, "INSULA_SCRATCH": str(tmp_path), "HOME": str(tmp_path)})
    health, objects, observers = Health(), cast(ObjectStore, None), Observers(Printed())
    server = cast(Server, health)
    return Worker(settings, connect(url), connect(url), objects, server, observers, ViewSettings()), health


async def test_a_stopped_worker_drains_and_withdraws(worker: tuple[Worker, Health], reports: list[int]) -> None:
    stopping = asyncio.Event()
    stopping.set()
    await worker[0].run(stopping)
    assert worker[1].serving is False
    assert reports[-1:] == [0]


@pytest.mark.parametrize("loop", ["claim_for_ever", "renew_for_ever"])
async def test_a_worker_whose_loop_fails_drains_withdraws_and_fails(
    worker: tuple[Worker, Health], reports: list[int], monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """A worker that ends with an error is restarted. If it continued without its leases, workloads would run twice."""

    async def fail(_: Claiming) -> None:
        await asyncio.sleep(0)
        raise RuntimeError(loop)

    monkeypatch.setattr(Claiming, loop, fail)
    with pytest.raises(ExceptionGroup) as failed:
        await worker[0].run(asyncio.Event())
    assert failed.group_contains(RuntimeError, match=loop)
    assert worker[1].serving is False
    assert reports[-1:] == [0]
