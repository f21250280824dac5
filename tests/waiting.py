"""Waiting for a condition: the one place that pauses between two looks at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE_S = 0.02
LONG_S = 60
"""For what takes milliseconds on a machine that is not busy."""


async def until(
    condition: Callable[[], object], within_s: float = LONG_S, shown: Callable[[], object] = lambda: ""
) -> None:
    """Return once the condition holds; the loop goes on meanwhile. `shown` is what to say if it does not."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s {shown()}"
        await asyncio.sleep(PAUSE_S)


def until_blocking(condition: Callable[[], object], within_s: float = LONG_S) -> None:
    """The same for a test without a loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(PAUSE_S)
