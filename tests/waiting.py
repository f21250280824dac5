"""Waiting for a condition. Only this module sleeps between two checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import TypeVar

T = TypeVar("T")

PAUSES_S = (0.001, 0.002, 0.005, 0.01, 0.02)
"""The pauses between the first checks; the last one is repeated. A pause leaves the CPU to other processes."""
PAUSE_SHARE = 0.05
PAUSE_S_MAX = 0.1
"""Later pauses are a share of the time waited so far, at most PAUSE_S_MAX: a check costs milliseconds of CPU."""
LONG_S = 60
"""The default limit, for conditions that take milliseconds on an idle machine."""


async def until(condition: Callable[[], T], within_s: float = LONG_S, shown: Callable[[], object] = lambda: "") -> T:
    """Wait until the condition returns a true value, and return that value. Other tasks run meanwhile.

    Raises AssertionError after the limit. Its text includes what `shown` returns.
    """

    async def once() -> T:
        return condition()

    return await until_awaited(once, within_s, shown)


async def until_awaited(
    condition: Callable[[], Awaitable[T]], within_s: float = LONG_S, shown: Callable[[], object] = lambda: ""
) -> T:
    """Do the same as `until` for a condition that is a coroutine function."""
    pauses_s = _pauses(within_s, shown)
    while not (found := await condition()):
        await asyncio.sleep(next(pauses_s))
    return found


def until_blocking(condition: Callable[[], T], within_s: float = LONG_S, shown: Callable[[], object] = lambda: "") -> T:
    """Do the same as `until` in a test without an event loop."""
    pauses_s = _pauses(within_s, shown)
    while not (found := condition()):
        time.sleep(next(pauses_s))
    return found


def hold(condition: Callable[[], object], for_s: float) -> None:
    """Check for `for_s` seconds that the condition stays true. Raises AssertionError once it is not."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        assert condition()
        time.sleep(PAUSE_S_MAX)


def _pauses(within_s: float, shown: Callable[[], object]) -> Iterator[float]:
    """Yield pauses without end. Raises AssertionError after `within_s`."""
    began = time.monotonic()
    for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"condition not met within {within_s} s {shown()}"
        yield max(pause_s, min(PAUSE_SHARE * waited_s, PAUSE_S_MAX))
