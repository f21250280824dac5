"""Waiting for a condition: the one place that pauses between two looks at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.02
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
    deadline = time.monotonic() + within_s
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s {shown()}"
        await asyncio.sleep(PAUSE_S)
    return found


def until_blocking(condition: Callable[[], T], within_s: float = LONG_S, shown: Callable[[], object] = lambda: "") -> T:
    """Return what the condition returned once that is true, for a test without an event loop."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s {shown()}"
        time.sleep(PAUSE_S)
    return found
