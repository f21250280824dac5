"""Waiting for a condition: the one place that pauses between two looks at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import TypeVar

T = TypeVar("T")

PAUSES_S = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Between the first looks; the last one from then on. A pause leaves the CPU to what is waited for."""
LONG_S = 60
"""For what takes milliseconds on a machine that is not busy."""


async def until(condition: Callable[[], T], within_s: float = LONG_S, shown: Callable[[], object] = lambda: "") -> T:
    """Return what the condition returned once that is true; other tasks run meanwhile. `shown` explains a failure."""

    async def once() -> T:
        return condition()

    return await until_awaited(once, within_s, shown)


async def until_awaited(
    condition: Callable[[], Awaitable[T]], within_s: float = LONG_S, shown: Callable[[], object] = lambda: ""
) -> T:
    """Return what the condition returned once that is true, for a condition that is a coroutine function."""
    pauses_s = _pauses(within_s, shown)
    while not (found := await condition()):
        await asyncio.sleep(next(pauses_s))
    return found


def until_blocking(condition: Callable[[], T], within_s: float = LONG_S, shown: Callable[[], object] = lambda: "") -> T:
    """Return what the condition returned once that is true, for a test without an event loop."""
    pauses_s = _pauses(within_s, shown)
    while not (found := condition()):
        time.sleep(next(pauses_s))
    return found


def _pauses(within_s: float, shown: Callable[[], object]) -> Iterator[float]:
    """Endless pauses; an AssertionError once the time is over."""
    deadline = time.monotonic() + within_s
    for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        assert time.monotonic() < deadline, f"not within {within_s} s {shown()}"
        yield pause_s
