"""The runners of one release: gives them jobs, limits their memory, and replaces them one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from insula.phase import Phase
from insula_worker.runners.memory import Measured, bytes_over
from insula_worker.runners.messages import Job
from insula_worker.runners.neighbours import Neighbours
from insula_worker.runners.observers import Observers
from insula_worker.runners.process import RunnerLaunch, RunnerProcess
from insula_worker.runners.runner import STOPPING, Runner, give_back

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
"""Seconds between two measurements of the runners' memory."""
LEAVE_S: Final = 3.0
"""Maximum seconds that an idle handler process may take to exit."""


class RunnerPool:
    """Starts the runners with `keep`, and gives each job to the runner with the most room."""

    def __init__(
        self,
        enter: Callable[[Phase, str], None],
        start_timeout_s: float,
        observers: Observers,
        neighbours: Neighbours | None = None,
    ) -> None:
        """`enter` is called with each new phase of the pool, and with the reason of a failure or an empty text.

        `neighbours` are the hosts that the handler reaches without a proxy, including those added after its start.
        """
        self.changed: Callable[[], None] = _nothing
        """Called when the runners may have room for more jobs."""
        self._enter = enter
        self._start_timeout_s = start_timeout_s
        self._observers = observers
        self._neighbours = neighbours or Neighbours(None)
        self._runners: list[Runner] = []
        self._limit_bytes: int | None = None
        self._enforced = True
        self._worked = False
        self._phase: Phase | None = None
        self._due = asyncio.Event()

    async def keep(self, launch: RunnerLaunch) -> None:
        """Start the runners of `launch`, and restart each one that ends, until cancelled. Never returns."""
        self._limit_bytes = launch.memory_bytes
        self._runners = [
            Runner(
                launch.of_process(number),
                self._phase_changed,
                self._runner_changed,
                self._start_timeout_s,
                self._observers,
                self._neighbours,
                self._weigh_loaded,
            )
            for number in range(launch.processes)
        ]
        for runner in self._runners:
            runner.may_be_replaced = partial(self._all_ready_but, runner)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._replace_for_ever())
            if launch.memory_bytes is not None or launch.process_memory_bytes is not None:
                group.create_task(self._watch_memory(launch.process_memory_bytes))
            for runner in self._runners:
                group.create_task(runner.keep())

    @property
    def running(self) -> int:
        """Number of jobs that the runners have, begun or not."""
        return sum(runner.running for runner in self._runners)

    @property
    def takes_jobs(self) -> bool:
        """Whether at least one runner accepts jobs."""
        return any(runner.takes_jobs for runner in self._runners)

    @property
    def room(self) -> int:
        """Number of jobs to claim now. 0 until a runner needs jobs, see `Runner.needs_jobs`."""
        if not any(runner.needs_jobs for runner in self._runners):
            return 0
        return sum(runner.room for runner in self._runners)

    @property
    def room_for_suspects(self) -> int:
        """Number of suspects to claim now: 0 or 1. At most one runner has a suspect, so that the others continue."""
        return int(self.takes_jobs and all(runner.reserved_for is None for runner in self._runners))

    @property
    def single(self) -> bool:
        """Whether there is only one runner, so that a suspect holds up all other workloads."""
        return len(self._runners) == 1

    def give(self, jobs: Iterable[Job]) -> None:
        """Give each job to a runner. If no runner accepts jobs, the jobs end as Unfinished."""
        for job in jobs:
            self._worked = True
            takers = [runner for runner in self._runners if runner.takes_jobs]
            if len(takers) == 1 and not job.suspect:
                takers[0].give(job)
            elif not takers:
                give_back([job], "no process of the handler takes workloads now")
            elif job.suspect:
                others = min(takers, key=lambda runner: runner.running).run_alone(job)
                self.give(others)
            else:
                max(takers, key=lambda runner: (runner.room, -runner.running)).give(job)

    async def drop(self, job: Job, because: str) -> None:
        """Stop a job. A job that has begun in a process with other jobs is not stopped."""
        for runner in self._runners:
            if runner.has(job):
                taken = runner.take_back()
                if job in taken:
                    give_back([job], because)
                elif runner.running == 1:
                    await runner.kill(because)
                self.give(other for other in taken if other is not job)

    async def stop(self, leave_s: float, because: str = STOPPING) -> None:
        """End all runners. Cancel the task of `keep` first.

        A runner with a job is killed at once. An idle one is killed if it has not exited within `leave_s` seconds.
        """
        await asyncio.gather(*(runner.stop(leave_s, because) for runner in self._runners))

    def _phase_changed(self, phase: Phase, reason: str) -> None:
        """Set the pool's phase: FAILING if a runner is failing, READY if all are ready, and STARTING otherwise."""
        phases = {runner.phase for runner in self._runners}
        if phase is not Phase.FAILING:
            if Phase.FAILING in phases:
                return
            phase = Phase.READY if phases == {Phase.READY} else Phase.STARTING
            if phase is self._phase:
                return
        self._phase = phase
        self._enter(phase, reason)

    def _runner_changed(self) -> None:
        if any(runner.due for runner in self._runners):
            self._due.set()
        self.changed()

    def _all_ready_but(self, runner: Runner) -> bool:
        return all(other.process is not None for other in self._runners if other is not runner)

    async def _replace_for_ever(self) -> None:
        """Replace the process of each runner that has a reason in `due`, one at a time. The other runners continue."""
        while True:
            await self._due.wait()
            self._due.clear()
            for runner in self._runners:
                if runner.due and runner.may_be_replaced():
                    await runner.replace(LEAVE_S)

    def _measured(self) -> dict[Runner, Measured]:
        ready = [(runner, runner.process) for runner in self._runners]
        return {runner: Measured(process.pid, process.generations) for runner, process in ready if process is not None}

    async def _weigh_loaded(self, process: RunnerProcess) -> None:
        """Stop enforcing compute.mem if the handlers exceed it before the first workload. Else no workload could run.

        Cortex ran such a handler, because it only reserved the memory.
        """
        if self._limit_bytes is None or self._worked:
            return
        measured = [*self._measured().values(), Measured(process.pid, process.generations)]
        loaded_bytes = sum(await asyncio.to_thread(bytes_over, measured, self._limit_bytes))
        self._enforced = not loaded_bytes
        if loaded_bytes:
            log.warning(
                "memory limit not enforced: the loaded handler already exceeds compute.mem",
                extra={"loaded_mib": loaded_bytes >> 20, "compute_mem_mib": self._limit_bytes >> 20},
            )

    async def _watch_memory(self, process_bytes: int | None) -> None:
        """End the largest process if all together exceed compute.mem. Replace a process that exceeds `process_bytes`.

        A workload that ran alone when compute.mem was exceeded fails without a retry, which would exceed it again.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            measured = self._measured()
            if self._limit_bytes is not None and self._enforced:
                used = await asyncio.to_thread(bytes_over, list(measured.values()), self._limit_bytes)
                if used:
                    await self._end_largest(dict(zip(measured, used, strict=True)), self._limit_bytes)
            if process_bytes is not None:
                await self._look_for_large(measured, process_bytes)

    async def _end_largest(self, used: dict[Runner, int], limit_bytes: int) -> None:
        # A suspect last: it would fail, and the memory may be that of others.
        largest = max(used, key=lambda runner: (runner.reserved_for is None and runner.running > 0, used[runner]))
        whole = sum(used.values())
        reason = f"the handler used {whole >> 20} MiB of memory; compute.mem allows {limit_bytes >> 20} MiB"
        await largest.end_over_memory(reason)

    async def _look_for_large(self, measured: dict[Runner, Measured], limit_bytes: int) -> None:
        for runner, one in measured.items():
            used = await asyncio.to_thread(bytes_over, [one], limit_bytes)
            if used and not runner.due:
                allowed = f"max_memory_per_process allows {limit_bytes >> 20} MiB"
                runner.due = f"it uses {used[0] >> 20} MiB of memory; {allowed}"
                self._due.set()


def _nothing() -> None:
    """Do nothing, because the worker does not claim workloads for this pool yet."""
