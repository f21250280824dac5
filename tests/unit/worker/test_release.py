"""A release from its installation to its start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from insula.phase import Phase
from insula.registry import Registration
from insula_worker import release
from insula_worker.decision import Target
from insula_worker.environments.key import EnvironmentFailed
from insula_worker.release import Release
from insula_worker.runners.observers import Observers
from insula_worker.runners.pool import RunnerPool
from insula_worker.runners.process import RunnerLaunch
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings
from tests.handler_output import Printed

VERSION = "0" * 32


async def test_a_failed_installation_is_not_a_failure_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed and a successful installation, a release waits for `start`. Then its phase has no failure."""
    launch = cast(RunnerLaunch, object())
    outcomes: Iterator[EnvironmentFailed | RunnerLaunch] = iter([EnvironmentFailed("no index"), launch])

    async def install(*_: object) -> RunnerLaunch:
        outcome = next(outcomes)
        if isinstance(outcome, EnvironmentFailed):
            raise outcome
        return outcome

    kept = asyncio.Event()

    async def keep(pool: RunnerPool, launch: RunnerLaunch) -> None:
        kept.set()
        await asyncio.Event().wait()

    async def uninstall(*_: object) -> None: ...

    monkeypatch.setattr(release, "install", install)
    monkeypatch.setattr(release, "uninstall", uninstall)
    monkeypatch.setattr(RunnerPool, "keep", keep)
    changed = asyncio.Event()
    environment = {"INSULA_API": "a", "INSULA_LISTEN": "unix:/nowhere", "INSULA_REDIS_URL": "redis://127.0.0.1:1"}
    settings = Settings.read({**environment, "INSULA_SCRATCH": str(tmp_path), "HOME": str(tmp_path)})
    registration = Registration("a", "/a", VERSION, "{}", 1, 0, 0)
    observers = Observers(Printed())
    one = Release(registration, Target(VERSION, 0, in_place=True), settings, ViewSettings(), changed.set, observers)
    while not one.waits:
        changed.clear()
        await changed.wait()
    assert one.phase is Phase.FAILING
    one.start()
    await kept.wait()
    assert (one.phase, one.reason) == (Phase.STARTING, "")
    await one.end()
