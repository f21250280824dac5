"""RunnerPool starts the runners of a release and restarts them. It reports the end of each job."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from insula.ledger import Blame
from insula.phase import Phase
from insula_worker.logs.worker_log import WorkerLog
from insula_worker.runners.messages import Completed, Job, Outcome, Unfinished
from insula_worker.runners.observers import Observers
from insula_worker.runners.pool import RunnerPool
from insula_worker.runners.process import RunnerLaunch
from tests.contract.runner.conftest import START_TIMEOUT_S
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
WAITS = """
import os, pathlib, time
born = time.monotonic()
class Handler:
    def handle_async(self, payload, request_id):
        pathlib.Path(f"begun-{request_id}").touch()
        if payload == "dies":
            os._exit(7)
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        return {"process": born}
"""


class Given:
    """A job that was given to a pool, and a future of its outcome."""

    def __init__(self, payload: bytes, id: str, *, suspect: bool = False) -> None:
        self.ended: asyncio.Future[Outcome | Unfinished] = asyncio.get_running_loop().create_future()
        self.has_begun = False
        self.job = Job(id, "", "text/plain", payload, suspect, self.ended.set_result, self._begins)

    def _begins(self) -> None:
        self.has_begun = True


class Kept:
    """A running pool, and the phases that it has reported."""

    def __init__(self, project: Path) -> None:
        self.phases: list[tuple[Phase, str]] = []
        self._project = project
        self._log = WorkerLog({})
        self.pool = RunnerPool(self._enter, START_TIMEOUT_S, Observers(self._log))
        self._keeping: asyncio.Task[None] | None = None

    def _enter(self, phase: Phase, reason: str) -> None:
        self.phases.append((phase, reason))

    def keep(self, launch: RunnerLaunch, source: str) -> None:
        (launch.project / launch.handler_path).write_text(source)
        self._keeping = asyncio.create_task(self.pool.keep(launch))

    async def ready(self) -> None:
        await until(lambda: bool(self.phases) and self.phases[-1][0] is Phase.READY)

    def give(self, payload: bytes = b"", id: str = "1", *, suspect: bool = False) -> Given:
        given = Given(payload, id, suspect=suspect)
        self.pool.give([given.job])
        return given

    async def begun(self, id: str = "1") -> None:
        await until((self._project / f"begun-{id}").exists)

    def go(self) -> None:
        (self._project / "go").touch()

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        await self.pool.stop(3)
        self._log.close()


@pytest.fixture
async def kept(launch: RunnerLaunch) -> AsyncIterator[Kept]:
    pool = Kept(launch.project)
    yield pool
    await pool.stop()


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
    """If the process of an idle handler ends, the pool reports `failing` with the reason."""
    kept.keep(replace(launch, memory_bytes=100 << 20), source)
    await until(lambda: Phase.FAILING in [phase for phase, _ in kept.phases])
    told = [phase for phase, _ in kept.phases]
    at = told.index(Phase.FAILING)
    assert told[:at] == [Phase.STARTING, Phase.READY]
    assert reason in kept.phases[at][1]


async def test_nothing_goes_on_once_a_pool_is_stopped(kept: Kept, launch: RunnerLaunch) -> None:
    """No task of the pool is left. The task that watches the memory must end, as another process may get the pid."""
    before = asyncio.all_tasks()
    kept.keep(replace(launch, memory_bytes=100 << 20), QUIET)
    await kept.ready()
    await kept.stop()
    await until(lambda: asyncio.all_tasks() <= before)


async def test_a_stop_reports_the_time_and_the_cause_of_interrupted_jobs(kept: Kept, launch: RunnerLaunch) -> None:
    """The interrupted attempt does not count as lost. The reason of a job that has not begun says so."""
    kept.keep(launch, WAITS)
    await kept.ready()
    running = kept.give()
    await kept.begun()
    waiting = kept.give(id="2")
    await kept.stop()
    stopped, unbegun = await running.ended, await waiting.ended
    assert isinstance(stopped, Unfinished)
    assert re.match(STOPPED, stopped.reason)
    assert stopped.blame is Blame.NONE
    assert unbegun == Unfinished("not started because insula is stopping; it is in the queue again")


async def test_a_crash_counts_for_the_only_job_that_had_begun(kept: Kept, launch: RunnerLaunch) -> None:
    """One job has begun and kills its process. The job behind it has not begun, so it returns to the queue."""
    kept.keep(launch, WAITS)
    await kept.ready()
    died, waiting = kept.give(b"dies"), kept.give(id="2")
    reason = "the handler's process ended with code 7"
    assert await died.ended == Unfinished(reason, Blame.LOST)
    assert await waiting.ended == Unfinished(f"not started because {reason}; it is in the queue again")


async def test_a_crash_makes_all_jobs_that_had_begun_suspects(kept: Kept, launch: RunnerLaunch) -> None:
    kept.keep(replace(launch, slots=3), WAITS)
    await kept.ready()
    innocent = [kept.give(id=str(id)) for id in (1, 2)]
    await asyncio.gather(kept.begun("1"), kept.begun("2"))
    died = kept.give(b"dies", id="3")
    expected = Unfinished("the handler's process ended with code 7", Blame.SUSPECT)
    assert [await one.ended for one in (*innocent, died)] == [expected] * 3


async def test_a_suspect_runs_alone_while_other_processes_go_on(kept: Kept, launch: RunnerLaunch) -> None:
    """A suspect waits for the jobs that run in its process. New jobs go to the other process."""
    kept.keep(replace(launch, processes=2, slots=2), WAITS)
    await kept.ready()
    before = [kept.give(id=f"before-{number}") for number in range(2)]
    await asyncio.gather(*(kept.begun(f"before-{number}") for number in range(2)))
    suspect = kept.give(b"dies", id="suspect", suspect=True)
    assert kept.pool.room_for_suspects == 0
    beside = [kept.give(id=f"beside-{number}") for number in range(1)]
    await kept.begun("beside-0")
    assert not suspect.ended.done()
    assert not suspect.has_begun
    kept.go()
    ends = [await one.ended for one in (*before, *beside)]
    assert all(isinstance(end, Completed) for end in ends)
    assert await suspect.ended == Unfinished("the handler's process ended with code 7", Blame.LOST)
    assert suspect.has_begun
    await until(lambda: kept.pool.room_for_suspects == 1)


async def test_all_slots_are_used_although_the_queue_to_the_process_fills_up(kept: Kept, launch: RunnerLaunch) -> None:
    """The pipe to the process holds few payloads of 32 kB. The process makes room as it begins jobs, so 100 run."""
    kept.keep(replace(launch, slots=100), WAITS.replace('payload == "dies"', "False"))
    await kept.ready()
    given = [kept.give(b"x" * 32_000, id=str(number)) for number in range(100)]
    await asyncio.gather(*(kept.begun(str(number)) for number in range(100)))
    kept.go()
    assert {type(await one.ended) for one in given} == {Completed}


async def test_a_suspect_spares_its_neighbours_memory(kept: Kept, launch: RunnerLaunch) -> None:
    """The suspect's process and another one exceed the memory limit together. The other process is ended."""
    grows = WAITS.replace("        while not", '        kept = b"x" * (int(payload) << 20)\n        while not')
    kept.keep(replace(launch, processes=2, memory_bytes=300 << 20), grows)
    await kept.ready()
    neighbour = kept.give(b"160", id="neighbour")
    await kept.begun("neighbour")
    suspect = kept.give(b"180", id="suspect", suspect=True)
    ended = await neighbour.ended
    assert isinstance(ended, Unfinished)
    assert ended.blame is Blame.SUSPECT
    kept.go()
    assert isinstance(await suspect.ended, Completed)


async def test_a_process_is_replaced_after_its_number_of_jobs(kept: Kept, launch: RunnerLaunch) -> None:
    """With `requests_max` of 3, each process runs exactly 3 jobs. The phase stays `ready`."""
    kept.keep(replace(launch, requests_max=3), WAITS)
    await kept.ready()
    kept.go()
    processes: list[object] = []
    for number in range(9):
        await until(lambda: kept.pool.room > 0)
        ended = await kept.give(id=str(number)).ended
        assert isinstance(ended, Completed)
        processes.append(json.loads(ended.result_json)["process"])
    assert [phase for phase, _ in kept.phases] == [Phase.STARTING, Phase.READY]
    assert [len(set(processes[at : at + 3])) for at in (0, 3, 6)] == [1, 1, 1]
    assert len(set(processes)) == 3


async def test_a_process_that_grows_too_large_is_replaced(kept: Kept, launch: RunnerLaunch) -> None:
    """A process over `process_memory_bytes` finishes its running job before it is replaced. The phase stays `ready`."""
    grows = WAITS.replace("        while not", '        Handler.kept = b"x" * (150 << 20)\n        while not')
    kept.keep(replace(launch, process_memory_bytes=100 << 20), grows)
    await kept.ready()
    running = kept.give()
    await kept.begun()
    await until(lambda: kept.pool.room == 0 and not kept.pool.takes_jobs)
    kept.go()
    assert isinstance(await running.ended, Completed)
    await until(lambda: kept.pool.takes_jobs)
    assert [phase for phase, _ in kept.phases] == [Phase.STARTING, Phase.READY]
