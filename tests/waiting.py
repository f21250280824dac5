"""Waiting for a condition: the one place that pauses between two looks at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE_S = 0.02


async def until(condition: Callable[[], object], within_s: float = 10) -> None:
    """Return once the condition holds; the loop goes on meanwhile."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(PAUSE_S)


def until_blocking(condition: Callable[[], object], within_s: float = 10) -> None:
    """The same for a test without a loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(PAUSE_S)
