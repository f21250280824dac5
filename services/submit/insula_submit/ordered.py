"""Runs steps (coroutines) concurrently, and yields their results in the order in which the steps were started."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, Generic, TypeVar

from insula.errors import InsulaError

T = TypeVar("T")

STEPS_MAX: Final = 4
"""Largest number of steps of a call that run at the same time."""
UNREAD_MAX: Final = 128
"""Largest number of steps of a call whose results the caller has not read. At this number, no further step starts."""


class Ordered(Generic[T]):
    """The steps of one call, and their results until they are yielded."""

    def __init__(self, nothing: T) -> None:
        """`nothing` is an empty result: `results` yields it when `probe` is called."""
        self._nothing = nothing
        self._running = asyncio.Semaphore(STEPS_MAX)
        self._unread = asyncio.Semaphore(UNREAD_MAX)
        self._steps = deque[asyncio.Task[T]]()
        self._probes = deque[asyncio.Event]()
        self._group = asyncio.TaskGroup()
        self._changed = asyncio.Event()

    async def results(self, feed: Coroutine[Any, Any, None]) -> AsyncGenerator[T]:
        """Run `feed`, which starts the steps, and yield their results. Then raise the error of `feed`, if any.

        If the iteration ends early, `feed` and the steps are cancelled.
        """
        running = asyncio.create_task(self._run(feed))
        running.add_done_callback(self._wake)
        try:
            while not running.done() or self._steps:
                if self._probes:
                    yield self._nothing
                    self._probes.popleft().set()
                elif self._steps and self._steps[0].done():
                    step = self._steps.popleft()
                    if step.cancelled():  # another step has failed: `running` has the reason
                        break
                    yield step.result()
                    self._unread.release()
                else:
                    self._changed.clear()
                    await self._changed.wait()
            await running
        finally:
            running.cancel()

    async def start(self, step: Coroutine[Any, Any, T]) -> None:
        """Start a step. Waits while STEPS_MAX run, or UNREAD_MAX results are unread."""
        _ = await self._start(step)

    async def run(self, step: Coroutine[Any, Any, T]) -> None:
        """Start a step and wait for its end."""
        await asyncio.wait([await self._start(step)])

    async def probe(self) -> None:
        """Check that the caller still reads: make `results` yield `nothing`, and return once the caller has taken it.

        If the caller has disconnected, this never returns.
        """
        sent = asyncio.Event()
        self._probes.append(sent)
        self._changed.set()
        await sent.wait()

    async def _start(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        await self._unread.acquire()
        await self._running.acquire()
        task = self._group.create_task(step)
        self._steps.append(task)
        task.add_done_callback(lambda _: self._running.release())
        task.add_done_callback(self._wake)
        return task

    def _wake(self, _: asyncio.Task[Any]) -> None:
        self._changed.set()

    async def _run(self, feed: Coroutine[Any, Any, None]) -> None:
        fault: InsulaError | None = None
        async with self._group:
            try:
                await feed
            except InsulaError as error:  # the steps go on: their results are yielded first
                fault = error
        if fault is not None:
            raise fault
