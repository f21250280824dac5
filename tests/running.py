"""A real handler process. A test gives it jobs directly, without a worker or its pool of processes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, Any, Self

from insula_worker.runners.messages import Job, Metric, Outcome, Unfinished, encode_job
from insula_worker.runners.output import LineTaker
from insula_worker.runners.process import RunnerLaunch, RunnerProcess


class RunnerDied(Exception):
    """The process ended before it answered."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _ignore(_: Outcome | Unfinished) -> None:
    """Do nothing at the end of a job: tests await its outcome instead."""


def job(
    payload: bytes | IO[bytes] = b"{}", content_type: str = "application/json", id: str = "1", trace_id: str = ""
) -> Job:
    """Return a job with its payload in memory or in a file."""
    return Job(id, trace_id, content_type, payload, suspect=False, ended=_ignore)


class Running:
    """A handler process, and the jobs that a test has given it."""

    def __init__(self) -> None:
        self.process: RunnerProcess
        self._given = 0
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._unsent: deque[tuple[bytes, int | None]] = deque()

    @classmethod
    async def start(
        cls,
        launch: RunnerLaunch,
        *,
        lines: LineTaker,
        start_timeout_s: float = 30,
        on_metric: Callable[[Metric], None] | None = None,
    ) -> Self:
        """Start the process. Raises HandlerStartFailed."""
        running = cls()
        running.process = await RunnerProcess.start(
            launch, start_timeout_s=start_timeout_s, lines=lines, on_answer=running._answered, on_metric=on_metric
        )
        return running

    def _answered(self, number: int, outcome: Outcome) -> bool:
        answer = self._waiting.pop(number, None)
        if answer is not None and not answer.done():  # else its test has given up
            answer.set_result(outcome)
        self._send()
        return answer is not None

    def put(self, task: Job, hosts: Sequence[str] = ()) -> asyncio.Future[Outcome]:
        """Give a job to the process, behind the earlier ones. Return a future of its outcome."""
        self._given += 1
        self._unsent.append(encode_job(self._given, task, hosts))
        answer = self._waiting[self._given] = asyncio.get_running_loop().create_future()
        self._send()
        return answer

    def _send(self) -> None:
        while self._unsent and self.process.put(*self._unsent[0]):
            self._unsent.popleft()

    async def run(self, task: Job, hosts: Sequence[str] = ()) -> Outcome:
        """Run a job and return its outcome. Raises RunnerDied if the process ends first."""
        answer = self.put(task, hosts)
        death = asyncio.create_task(self.process.wait_exit())
        either: set[asyncio.Future[Any]] = {answer, death}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            death.cancel()
            return answer.result()
        raise RunnerDied(death.result())
