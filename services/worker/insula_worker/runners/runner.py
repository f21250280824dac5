"""Keeps one process of the handler running, gives it jobs, and reports the end of each job."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from insula.ledger import Blame
from insula.phase import Phase
from insula.reason import Reason
from insula_worker.backoff import pause_s
from insula_worker.runners.messages import Failed, Job, Outcome, Unfinished, encode_job
from insula_worker.runners.neighbours import Neighbours
from insula_worker.runners.observers import Observers
from insula_worker.runners.process import HandlerStartFailed, RunnerLaunch, RunnerProcess

log = logging.getLogger(__name__)

STEADY_S: Final = 30.0
"""A runner is restarted without backoff if it had a job, or if it ended more than this many seconds after its start. A
job that kills its runner does not need backoff, because its attempts are limited."""
PATIENCE_S: Final = 1.0
"""Seconds that jobs may wait in the queue of a runner that answers no job. Then their workloads return to the queue of
the API, so that another worker can run them."""
AHEAD_S: Final = 0.1
AHEAD_MAX: Final = 511
"""Maximum number of jobs that a runner gets beyond its slots. It gets only those that it should begin within AHEAD_S
seconds (invariant I6)."""
STOPPING: Final = "insula is stopping"
NOT_STARTED: Final = "not started because {}; it is in the queue again"


class Runner:
    """A process of the handler with its jobs. After the end of the process, another one is started."""

    def __init__(
        self,
        launch: RunnerLaunch,
        enter: Callable[[Phase, str], None],
        changed: Callable[[], None],
        start_timeout_s: float,
        observers: Observers,
        neighbours: Neighbours,
        loaded: Callable[[RunnerProcess], Awaitable[None]],
    ) -> None:
        """`enter` is called with each new phase, and with the reason of a failure or an empty text.

        `changed` is called when a job is answered, when a process becomes ready, and when it has ended.
        `loaded` is awaited with each new process before it gets jobs.
        `neighbours` are the hosts that the handler reaches without a proxy, including those added after its start.
        """
        self.phase = Phase.STARTING
        self.reserved_for: Job | None = None
        """The suspect that runs alone, or will when the other jobs have ended. Until its end, no job is added."""
        self.due = ""
        """Why the process has to be replaced, or empty."""
        self.may_be_replaced: Callable[[], bool] = bool
        """Whether all other runners are ready, so that this one can be replaced. If not, it may exceed its limits."""
        self._launch = launch
        self._enter_phase = enter
        self._changed = changed
        self._start_timeout_s = start_timeout_s
        self._observers = observers
        self._neighbours = neighbours
        self._loaded = loaded
        self._sent_names: tuple[str, ...] = ()
        self._process: RunnerProcess | None = None
        self._jobs: dict[int, Job] = {}
        self._unsent: deque[int] = deque()
        self._number = 0  # of the last job
        self._answers = 0  # since the start of the process
        self._used = False
        self._stuck = False
        self._job_s: float | None = None
        self._answered_at = 0.0
        self._patience: asyncio.TimerHandle | None = None
        self._killed_because = ""
        self._over_memory = ""
        self._leaves = False
        self._stopped = False
        self._idle = asyncio.Event()
        self._ready = asyncio.Event()

    @property
    def process(self) -> RunnerProcess | None:
        """The process if it is ready for jobs, else None."""
        return self._process

    @property
    def running(self) -> int:
        """Number of jobs that the runner has, begun or not."""
        return len(self._jobs)

    @property
    def takes_jobs(self) -> bool:
        """Whether the runner accepts jobs. `room` is how many to give it."""
        return self._process is not None and not self._leaves and not self._stopped and self.reserved_for is None

    @property
    def room(self) -> int:
        """Number of further jobs to give to the runner: for its free slots, and more if its jobs are short.

        After `_look_at_queue` has returned waiting jobs, it is 0 until the runner's next answer.
        """
        if not self.takes_jobs or self._stuck:
            return 0
        room = self._launch.slots + self._ahead - len(self._jobs)
        if self._launch.requests_max is not None and self.may_be_replaced():
            room = min(room, self._launch.requests_max - self._answers - len(self._jobs))
        return max(0, room)

    @property
    def needs_jobs(self) -> bool:
        """Whether the runner has a free slot, or has room for half of the jobs that it may get beyond its slots."""
        room = self.room
        return room > 0 and (len(self._jobs) < self._launch.slots or room * 2 >= self._ahead)

    @property
    def _ahead(self) -> int:
        quiet_s = asyncio.get_running_loop().time() - self._answered_at if self._jobs else 0.0
        return ahead(self._job_s, quiet_s, self._launch.slots)

    async def keep(self) -> None:
        """Start a process, and another one after each end of it, until cancelled. Never returns."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            if not self._leaves:  # a process that is replaced on request leaves no failure behind
                self._enter(Phase.STARTING, "")
            started_at = loop.time()
            used = False
            try:
                process = await self._start()
            except HandlerStartFailed as error:
                log.warning(
                    "handler failed to start, retrying", extra={"reason": str(error), "traceback": error.traceback}
                )
                self._enter(Phase.FAILING, f"{error}\n{error.traceback}".strip())
            else:
                log.info("handler ready", extra={"seconds": round(loop.time() - started_at, 3)})
                try:
                    await self._loaded(process)
                except BaseException:
                    await process.stop(0)
                    raise
                self._become_ready(process)
                used = await self._live(process)
            works = used or loop.time() - started_at > STEADY_S
            failures = 0 if works else failures + 1
            await asyncio.sleep(pause_s(failures - 1))  # 0 s before the first restart

    async def _start(self) -> RunnerProcess:
        log.info(f"loading the handler from {self._launch.handler_path}")  # noqa: G004 - the text users of Cortex know
        return await RunnerProcess.start(
            self._launch,
            start_timeout_s=self._start_timeout_s,
            on_answer=self._answered,
            on_metric=self._observers.metric,
            lines=self._observers.lines,
        )

    def _become_ready(self, process: RunnerProcess) -> None:
        self._killed_because, self._over_memory, self._sent_names = "", "", ()
        self.due, self._leaves, self._process = "", False, process
        self._answers, self._used, self._stuck = 0, False, False
        self._ready.set()
        log.info("polling for workloads...")
        self._enter(Phase.READY, "")
        self._changed()

    async def _live(self, process: RunnerProcess) -> bool:
        """Wait until the process has ended, then end its jobs. Return whether it was given a job or was replaced."""
        death = await process.wait_exit()
        self._process = None
        self._ready.clear()
        reason = self._over_memory or f"the handler's process {death}"
        used = self._used
        if self._leaves and not self._jobs:
            log.info("handler process replaced", extra={"reason": self.due})
            return True
        log.warning("handler process ended", extra={"reason": reason})
        self._leaves = False
        if not used:
            self._enter(Phase.FAILING, f"{reason} while it was idle")
        self._settle(process, reason)
        return used

    def _enter(self, phase: Phase, reason: str) -> None:
        self.phase = phase
        self._enter_phase(phase, reason)

    def give(self, job: Job) -> None:
        """Give a job to the process. If there is no process, the job ends as Unfinished."""
        if self._process is None:
            give_back([job], STOPPING if self._stopped else "the handler's process ended")
            return
        if job.begins is not None:
            job.begins()
        loop = asyncio.get_running_loop()
        job.given_at = loop.time()
        if not self._jobs:
            self._answered_at = job.given_at
        self._idle.clear()
        self._number, self._used = self._number + 1, True
        self._jobs[self._number] = job
        if not self._unsent:
            loop.call_soon(self._send)  # with those that are given at the same time
        self._unsent.append(self._number)
        if self._patience is None:
            self._patience = loop.call_later(PATIENCE_S, self._look_at_queue)

    def _send(self) -> None:
        """Write the jobs that were not written yet, as far as the queue has room."""
        if not self._unsent:
            return None
        names = self._neighbours.names()
        while self._unsent and self._process is not None:
            number = self._unsent[0]
            new_names = names if names != self._sent_names else ()
            if not self._process.put(*encode_job(number, self._jobs[number], new_names)):
                return self._process.when_room(self._send)
            self._sent_names = names
            self._unsent.popleft()
        return None

    def _answered(self, number: int, outcome: Outcome) -> bool:
        """End the job `number` with its outcome. Return False if the process has no such job."""
        job = self._jobs.pop(number, None)
        if job is None:
            return False
        self._answered_at, self._stuck = asyncio.get_running_loop().time(), False
        self._answers += 1
        self._job_s = outcome.handler_s if self._job_s is None else 0.8 * self._job_s + 0.2 * outcome.handler_s
        if self.reserved_for is job:
            self.reserved_for = None
        job.ended(outcome)
        if not self._jobs:
            self._idle.set()
            if self.reserved_for is not None:
                self.give(self.reserved_for)
        self._send()
        if self._launch.requests_max is not None and self._answers >= self._launch.requests_max:
            self.due = f"it has run {self._launch.requests_max} workloads (max_requests_per_process)"
        self._changed()
        return True

    def take_back(self) -> list[Job]:
        """Take back the jobs that have not begun. The caller must end them or give them to another runner."""
        taken = self._take_queued()
        if self.reserved_for is not None and self.reserved_for not in self._jobs.values():
            taken += [] if self.reserved_for in taken else [self.reserved_for]
            self.reserved_for = None
        return taken

    def _take_queued(self) -> list[Job]:
        """Take back the jobs in the queue. Ignore a job in it that the runner has already answered."""
        numbers = list(self._unsent)
        self._unsent.clear()
        if self._process is not None and (queued := self._process.take_back()):
            numbers = [*queued, *numbers]
            self._sent_names = ()  # they may have been in one of these jobs
        taken = [job for number in numbers if (job := self._jobs.pop(number, None)) is not None]
        if not self._jobs:
            self._idle.set()
        return taken

    def run_alone(self, suspect: Job) -> list[Job]:
        """Run a suspect alone, once the jobs that have begun are answered. Return the jobs that have not begun."""
        others = self.take_back()
        self.reserved_for = suspect
        if not self._jobs:
            self.give(suspect)
        return others

    def has(self, job: Job) -> bool:
        """Return whether the runner has this job."""
        return job is self.reserved_for or job in self._jobs.values()

    def _look_at_queue(self) -> None:
        """Return the waiting jobs to the API's queue if the runner has answered none for PATIENCE_S."""
        loop = asyncio.get_running_loop()
        left_s = self._answered_at + PATIENCE_S - loop.time()
        self._patience = None
        if not self._jobs:
            return
        if left_s <= 0 and (waiting := self._take_queued()):
            self._stuck = True
            give_back(waiting, "the workload before it still runs")
        self._patience = loop.call_later(max(left_s, PATIENCE_S / 2), self._look_at_queue)

    def _settle(self, process: RunnerProcess, reason: str) -> None:
        """End the jobs of a process that has ended. A job that had not begun does not count as a lost attempt."""
        numbers = [*process.take_back(), *self._unsent]
        self._unsent.clear()
        waiting = [job for number in numbers if (job := self._jobs.pop(number, None)) is not None]
        begun, self._jobs = list(self._jobs.values()), {}
        if self.reserved_for is not None and self.reserved_for not in [*begun, *waiting]:
            waiting.append(self.reserved_for)
        self.reserved_for = None
        self._idle.set()
        for job in begun:
            job.ended(self._verdict(job, reason))
        give_back(waiting, STOPPING if self._stopped else reason)
        self._changed()

    def _verdict(self, job: Job, reason: str) -> Outcome | Unfinished:
        """Return the outcome of a job that had begun when its process ended.

        No job is blamed if `kill` ended the process. Otherwise, a job is blamed if it ran alone: if it is a suspect, or
        if the worker has one slot. Any other workload becomes a suspect, because another job may be the cause, in this
        process or in another one that used the memory.
        """
        began_at = max(job.given_at, self._answered_at) if self._launch.slots == 1 else job.given_at
        busy_s = asyncio.get_running_loop().time() - began_at
        if self._killed_because:
            because = f"stopped after {busy_s:.1f} s because {self._killed_because}"
            return Unfinished(f"{because}; it starts again from the beginning")
        if not job.suspect and self._launch.slots * self._launch.processes > 1:
            return Unfinished(reason, Blame.SUSPECT)
        if self._over_memory:
            return Failed(Reason.MEMORY_LIMIT, self._over_memory, traceback="", handler_s=busy_s)
        return Unfinished(reason, Blame.LOST)

    async def end_over_memory(self, reason: str) -> None:
        """Kill the process because the handlers use too much memory. `reason` is the text for the log and the user."""
        if self._process is not None:
            self._over_memory = reason
            await self._process.stop(0)

    async def kill(self, because: str) -> None:
        """End the process at once, even during a job; `keep` starts another one. No attempt counts as lost."""
        if self._process is not None:
            self._killed_because = because
            await self._process.stop(0)

    async def replace(self, leave_s: float) -> None:
        """Let the process end once its jobs are answered, and wait until its successor is ready."""
        if self._process is None:
            return
        self._leaves, process = True, self._process
        give_back(self.take_back(), f"its process is replaced: {self.due}")
        await self._idle.wait()
        if self._process is process:
            await process.stop(leave_s)
            self._ready.clear()
        await self._ready.wait()

    async def stop(self, leave_s: float, because: str = STOPPING) -> None:
        """End the process, and return its waiting jobs to the API's queue. Cancel `keep` first.

        An idle runner exits as a Python program does: it waits for its threads and runs its atexit functions. A runner
        that still runs a job is killed at once. An idle one is killed if it has not ended within `leave_s`.
        """
        self._stopped = True
        if self._patience is not None:
            self._patience.cancel()
        process = self._process
        if process is None:
            return
        give_back(self.take_back(), because)
        if self._jobs:
            await self.kill(because)
        elif not await process.stop(leave_s):
            log.warning(
                "killed an idle handler process",
                extra={"reason": f"it did not exit within {leave_s:g} s after the worker stopped it"},
            )
        self._process = None
        self._settle(process, because)


def ahead(job_s: float | None, quiet_s: float, slots: int) -> int:
    """Return how many jobs to give a runner beyond its slots: as many as begin within AHEAD_S, AHEAD_MAX at most.

    `job_s` is the recent average of its jobs' run times, None before the first. `quiet_s` is the time without an answer
    so far. Both are in seconds.
    """
    return 0 if job_s is None else min(AHEAD_MAX, int(slots * AHEAD_S / max(job_s, quiet_s, 1e-6)))


def give_back(jobs: Iterable[Job], because: str) -> None:
    """End jobs that have not begun as Unfinished, without blame. Their workloads return to the queue."""
    for job in jobs:
        job.ended(Unfinished(NOT_STARTED.format(because)))
