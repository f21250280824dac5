"""RunnerSlot with real runners: each end is reported, and nothing continues after the last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from insula.phase import Phase
from insula_worker.logs.worker_log import WorkerLog
from insula_worker.runners.observers import Observers
from insula_worker.runners.process import RunnerLaunch
from insula_worker.runners.slot import AttemptLost, RunnerSlot
from tests.contract.runner.conftest import START_TIMEOUT_S, job
from tests.waiting import until

DIES_IDLE = """
import os, threading
class Handler:
    def __init__(self, config):
        threading.Timer(0.1, os._exit, [9]).start()
    def handle_async(self): return {}
"""
GROWS_IDLE = """
import threading, time
def grow():
    time.sleep(1)
    Handler.kept = b"x" * (200 << 20)
class Handler:
    def __init__(self, config):
        threading.Thread(target=grow).start()
    def handle_async(self): return {}
"""
STOPPED = r"^stopped after \d+\.\d s because insula is stopping; it starts again from the beginning$"
QUIET = "class Handler:\n    def handle_async(self): return {}\n"


class Kept:
    """A running slot, and the phases that it reported."""

    def __init__(self) -> None:
        self.phases: list[tuple[Phase, str]] = []
        self._log = WorkerLog({})
        self.slot = RunnerSlot(self._enter, START_TIMEOUT_S, Observers(self._log))
        self._keeping: asyncio.Task[None] | None = None

    def _enter(self, phase: Phase, reason: str) -> None:
        self.phases.append((phase, reason))

    def keep(self, launch: RunnerLaunch, source: str) -> None:
        (launch.project / launch.handler_path).write_text(source)
        self._keeping = asyncio.create_task(self.slot.keep(launch))

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        await self.slot.stop(3)
        self._log.close()


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    slot = Kept()
    yield slot
    await slot.stop()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (DIES_IDLE, "the handler's process ended with code 9 while it was idle"),
        (GROWS_IDLE, "MiB of memory; compute.mem allows 100 MiB while it was idle"),
    ],
    ids=["exits", "outgrows compute.mem"],
)
async def test_a_handler_that_ends_while_idle_is_failing_with_a_reason(
    kept: Kept, launch: RunnerLaunch, source: str, reason: str
) -> None:
    """Not ready, until its next start has shown that it is."""
    kept.keep(replace(launch, memory_bytes=100 << 20), source)
    await until(lambda: Phase.FAILING in [phase for phase, _ in kept.phases])
    told = [phase for phase, _ in kept.phases]
    at = told.index(Phase.FAILING)
    assert told[:at] == [Phase.STARTING, Phase.READY]
    assert reason in kept.phases[at][1]


async def test_nothing_goes_on_once_a_slot_is_stopped(kept: Kept, launch: RunnerLaunch) -> None:
    """The watch over its memory must end too: another process may get the process id."""
    before = asyncio.all_tasks()
    kept.keep(replace(launch, memory_bytes=100 << 20), QUIET)
    await until(kept.slot.ready.is_set)
    await kept.stop()
    await until(lambda: asyncio.all_tasks() <= before)


async def test_a_stop_reports_the_time_and_the_cause_of_interrupted_jobs(kept: Kept, launch: RunnerLaunch) -> None:
    """And is not to blame: it starts again from the beginning."""
    source = "import pathlib, time\nclass Handler:\n    def handle_async(self):\n"
    kept.keep(launch, source + "        pathlib.Path('begun').touch()\n        time.sleep(600)\n")
    running = asyncio.create_task(kept.slot.run(job(), patience_s=1))
    await until((launch.project / "begun").exists)
    waiting = asyncio.create_task(kept.slot.run(job(), patience_s=600))
    await asyncio.wait({waiting}, timeout=0)
    await kept.stop()
    with pytest.raises(AttemptLost, match=STOPPED) as lost:
        await running
    assert not lost.value.begun
    with pytest.raises(AttemptLost, match=r"^not started because insula is stopping; it is in the queue again$"):
        await waiting
