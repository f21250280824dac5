"""The place of one runner: keeps a handler process running, and starts another when it ends."""

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
"""If a runner lived this long, or was given a job, the next one starts without delay, because the handler can start.
A job that kills its runner does so only as often as it is delivered."""


class AttemptLost(InsulaError):
    """The runner ended during an attempt. `begun` is whether the attempt counts as lost.

    If it does not, the text continues a sentence that begins with "the workload was".
    """

    def __init__(self, reason: str, *, begun: bool) -> None:
        super().__init__(reason)
        self.begun = begun


class RunnerSlot:
    """Starts a runner, and another one when it ends. Jobs wait here and are passed to the runner one at a time.

    No job is passed early: a job that the runner has not seen can still be given back to another worker.
    """

    def __init__(
        self,
        enter: Callable[[Phase, str], None],
        start_timeout_s: float,
        observers: Observers,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Call `enter` with each new phase, and with the reason of a failure.

        `neighbours` are the hosts that the handler reaches without a proxy, including those added after its start.
        """
        self.ready: Final = asyncio.Event()
        self._enter = enter
        self._start_timeout_s = start_timeout_s
        self._observers = observers
        self._neighbours = neighbours or Neighbours(None)
        self._told: tuple[str, ...] = ()
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
                self._recycled, self._over_memory, self._told = "", "", ()
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
            await asyncio.sleep(pause_s(failures - 1))  # none before the first restart

    async def _live(self, runner: RunnerProcess, memory_bytes: int | None) -> str:
        """Wait for the runner's end while limiting its memory. Return the reason of the end."""
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
        """End a runner that exceeds compute.mem. Its workload fails at once, because a retry would exceed it again.

        A runner that already exceeds it before its first workload is not limited, because it could never run. Cortex
        ran such a handler: it only reserved the memory.
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
        """Seconds for which the current job has been running; 0 without one."""
        return 0.0 if self._busy_since is None else asyncio.get_running_loop().time() - self._busy_since

    async def run(self, job: Job, *, patience_s: float) -> Outcome:
        """Run a job once it is its turn and there is a runner. Raises AttemptLost if the runner ends first.

        If the job before it takes longer than `patience_s`, AttemptLost is raised with `begun` False.
        """
        await self._wait_for_turn(patience_s)
        runner: RunnerProcess | None = None
        try:
            await self.ready.wait()
            runner = self._runner
            if runner is None or self._stopped:
                raise AttemptLost("not started because insula is stopping; it is in the queue again", begun=False)
            self._busy_since = asyncio.get_running_loop().time()
            outcome = await runner.run(self._with_news(job))
        except RunnerDied as death:
            self._used |= death.sent
            if self._runner is runner and not self._stopped:
                self.ready.clear()  # now, before `keep` notices the end: the next job must wait for the next runner
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

    def _with_news(self, job: Job) -> Job:
        """Add the names of the neighbours to the job, if its runner does not know them all."""
        names = self._neighbours.names()
        if names == self._told:
            return job
        self._told = names
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
        """End the runner at once, whatever it runs; `keep` starts another. No attempt counts as lost."""
        if self._runner is not None:
            self._recycled = because
            await self._runner.stop(0)

    async def stop(self, leave_s: float, because: str = STOPPING) -> None:
        """End the runner for good; cancel `keep` first.

        An idle runner ends as Python programs do: it waits for its threads and runs its exit functions. It is killed if
        it still runs a job, or has not ended within `leave_s`.
        """
        self._stopped = True
        self.ready.set()  # jobs that wait for a runner must not wait any longer
        if self._runner is None or self._busy_since is not None:
            await self.recycle(because)
        elif not await self._runner.stop(leave_s):
            log.warning("handler process was killed", extra={"reason": f"it did not end within {leave_s:g} s"})
