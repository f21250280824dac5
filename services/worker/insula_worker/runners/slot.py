"""A slot for one runner: keeps a handler process running, and starts another one when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from insula.errors import InsulaError
from insula.phase import Phase
from insula.reason import Reason
from insula_worker.backoff import pause_s
from insula_worker.runners.connection import RunnerDied
from insula_worker.runners.memory import bytes_over, wait_until_over
from insula_worker.runners.messages import Failed, Job, Outcome
from insula_worker.runners.neighbours import Neighbours
from insula_worker.runners.observers import Observers
from insula_worker.runners.process import HandlerStartFailed, RunnerLaunch, RunnerProcess

log = logging.getLogger(__name__)

STOPPING: Final = "insula is stopping"
STEADY_S: Final = 30.0
"""A runner that ran this long, or was given a job, is restarted without backoff: its handler is able to start.
A job that kills its runner does not need backoff, because its deliveries are limited."""


class AttemptLost(InsulaError):
    """The runner ended before it answered an attempt. `begun` is true if the attempt counts as lost.

    If `begun` is false, the text continues a sentence that begins with "the workload was".
    """

    def __init__(self, reason: str, *, begun: bool) -> None:
        super().__init__(reason)
        self.begun = begun


class RunnerSlot:
    """Starts a runner, and another one when it ends. Jobs wait here and are sent to the runner one at a time.

    A job is sent only when the runner is idle. Until then it can still be given back to another worker.
    """

    def __init__(
        self,
        enter: Callable[[Phase, str], None],
        start_timeout_s: float,
        observers: Observers,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Call `enter` with each new phase and the reason of a failure, empty without one.

        `neighbours` are the hosts that the handler reaches without a proxy, including those added after its start.
        """
        self.ready: Final = asyncio.Event()
        self._enter = enter
        self._start_timeout_s = start_timeout_s
        self._observers = observers
        self._neighbours = neighbours or Neighbours(None)
        self._sent_names: tuple[str, ...] = ()
        self._runner: RunnerProcess | None = None
        self._turn = asyncio.Lock()
        self._busy_since: float | None = None
        self._recycled = ""
        self._used = False
        self._over_memory = ""
        self._stopped = False

    async def keep(self, launch: RunnerLaunch) -> None:
        """Keep a runner running until cancelled. Never returns."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            self._enter(Phase.STARTING, "")
            started_at, self._used = loop.time(), False
            try:
                self._runner = await self._start(launch)
                self._recycled, self._over_memory, self._sent_names = "", "", ()
            except HandlerStartFailed as error:
                log.warning("handler failed to start", extra={"reason": str(error), "traceback": error.traceback})
                self._enter(Phase.FAILING, f"{error}\n{error.traceback}".strip())
            else:
                log.info("handler ready", extra={"seconds": round(loop.time() - started_at, 3)})
                self.ready.set()
                log.info("polling for workloads...")
                self._enter(Phase.READY, "")
                reason = await self._live(self._runner, launch.memory_bytes)
                self.ready.clear()
                log.warning("handler process ended", extra={"reason": reason})
                if not self._used:
                    self._enter(Phase.FAILING, f"{reason} while it was idle")
            works = self._used or loop.time() - started_at > STEADY_S
            failures = 0 if works else failures + 1
            await asyncio.sleep(pause_s(failures - 1))  # 0 s before the first restart

    async def _live(self, runner: RunnerProcess, memory_bytes: int | None) -> str:
        """Enforce the memory limit until the runner ends. Return the reason of the end."""
        watching = asyncio.create_task(self._limit_memory(runner, memory_bytes))
        try:
            death = await runner.wait_exit()
        finally:
            watching.cancel()
        return self._over_memory or f"the handler's process {death}"

    async def _start(self, launch: RunnerLaunch) -> RunnerProcess:
        log.info(f"loading the handler from {launch.handler_path}")  # noqa: G004 - the text users of Cortex know
        return await RunnerProcess.start(
            launch,
            start_timeout_s=self._start_timeout_s,
            on_metric=self._observers.metric,
            lines=self._observers.lines,
        )

    async def _limit_memory(self, runner: RunnerProcess, limit_bytes: int | None) -> None:
        """End a runner that exceeds compute.mem. Its workload fails without a retry, which would exceed it again.

        The limit is not enforced if the runner exceeds it before its first workload: it could never run. Cortex ran
        such a handler, because it only reserved the memory.
        """
        if limit_bytes is None:
            return
        if loaded_bytes := await asyncio.to_thread(bytes_over, runner.pid, limit_bytes, runner.generations):
            log.warning(
                "memory limit not enforced: the loaded handler already exceeds compute.mem",
                extra={"loaded_mib": loaded_bytes >> 20, "compute_mem_mib": limit_bytes >> 20},
            )
            return
        used_bytes = await wait_until_over(runner.pid, limit_bytes, runner.generations)
        self._over_memory = (
            f"the handler used {used_bytes >> 20} MiB of memory; compute.mem allows {limit_bytes >> 20} MiB"
        )
        await runner.stop(0)

    @property
    def busy_s(self) -> float:
        """Seconds for which the current job has been running; 0 without a job."""
        return 0.0 if self._busy_since is None else asyncio.get_running_loop().time() - self._busy_since

    async def run(self, job: Job, *, patience_s: float) -> Outcome:
        """Run a job once all jobs before it have ended and a runner is ready.

        Raises AttemptLost if the runner ends before it answers. Raises AttemptLost with `begun` False if the job before
        it takes longer than `patience_s`.
        """
        await self._wait_for_turn(patience_s)
        runner: RunnerProcess | None = None
        try:
            await self.ready.wait()
            runner = self._runner
            if runner is None or self._stopped:
                raise AttemptLost("not started because insula is stopping; it is in the queue again", begun=False)
            self._busy_since = asyncio.get_running_loop().time()
            outcome = await runner.run(self._with_new_hosts(job))
        except RunnerDied as death:
            self._used |= death.sent
            if self._runner is runner and not self._stopped:
                # `keep` clears it too, but later: the next job must wait for the next runner.
                self.ready.clear()
            if self._over_memory and death.sent:
                return Failed(Reason.MEMORY_LIMIT, self._over_memory, traceback="", handler_s=self.busy_s)
            if self._recycled:
                why = f"stopped after {self.busy_s:.1f} s because {self._recycled}; it starts again from the beginning"
                raise AttemptLost(why, begun=False) from death
            raise AttemptLost(str(death), begun=death.sent) from death
        else:
            self._used = True
            return outcome
        finally:
            self._busy_since = None
            self._turn.release()

    def _with_new_hosts(self, job: Job) -> Job:
        """Add the names of the neighbours to the job, if they changed since they were last sent to the runner."""
        names = self._neighbours.names()
        if names == self._sent_names:
            return job
        self._sent_names = names
        return replace(job, direct_hosts=names)

    async def _wait_for_turn(self, patience_s: float) -> None:
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    await self._turn.acquire()
                    return
            except TimeoutError:
                if self.busy_s > patience_s or self._stopped:
                    raise AttemptLost(
                        "not started because the workload before it still runs; it is in the queue again", begun=False
                    ) from None

    async def recycle(self, because: str) -> None:
        """End the runner at once, even during a job; `keep` starts another one. No attempt counts as lost."""
        if self._runner is not None:
            self._recycled = because
            await self._runner.stop(0)

    async def stop(self, leave_s: float, because: str = STOPPING) -> None:
        """End the runner and start no other one. Cancel `keep` first.

        An idle runner exits as a Python program does: it waits for its threads and runs its atexit functions. A runner
        that still runs a job is killed at once. An idle one is killed if it has not ended within `leave_s`.
        """
        self._stopped = True
        self.ready.set()  # wakes the jobs that wait for a runner
        if self._runner is None or self._busy_since is not None:
            await self.recycle(because)
        elif not await self._runner.stop(leave_s):
            log.warning(
                "handler process was killed",
                extra={"reason": f"it did not exit within {leave_s:g} s after the worker stopped it"},
            )
