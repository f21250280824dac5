"""The pulse of the poll loop: shows whether a worker is alive (invariant I12)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from insula.errors import InsulaError

LOOKS_PER_LEASE: Final = 4
STILL_LEASES: Final = 3
STUCK_S_MIN: Final = 20
"""Minimum seconds before the loop counts as stuck. It exceeds the time-outs of all calls in one turn of the loop, so
an outage of Redis alone does not make the loop count as stuck."""


class PollLoopStuck(InsulaError):
    """The poll loop claims no more workloads, although Redis answers. The worker ends, so that it is restarted."""


class Pulse:
    """Counts the turns of the poll loop, and remembers whether its last call of Redis failed."""

    def __init__(self) -> None:
        self.turns = 0
        self.successes = 0
        self.failing = False

    def turned(self) -> None:
        """Count a turn of the loop, which checks whether a runner has room for workloads."""
        self.turns += 1

    def worked(self) -> None:
        """Count a call of Redis that succeeded."""
        self.successes += 1
        self.failing = False

    def failed(self) -> None:
        """Remember that a call of Redis failed."""
        self.failing = True


async def until_stuck(pulse: Pulse, lease_s: float, redis_answers: Callable[[], Awaitable[bool]]) -> str:
    """Wait until the poll loop is stuck, and return the reason. `redis_answers` tries a new connection to Redis.

    The loop is stuck if it has not turned for STILL_LEASES leases, or if new connections work for one lease while all
    calls of the loop fail. Both take at least STUCK_S_MIN seconds. The function counts its checks, not seconds, so that
    a process that was suspended does not count as stuck.
    """
    period_s = lease_s / LOOKS_PER_LEASE
    still_max = max(STILL_LEASES * LOOKS_PER_LEASE, STUCK_S_MIN / period_s)
    cut_off_max = max(LOOKS_PER_LEASE, STUCK_S_MIN / period_s)
    turns, successes, still, cut_off = -1, -1, 0, 0
    while True:
        await asyncio.sleep(period_s)
        still = still + 1 if pulse.turns == turns else 0
        only_loop_fails = pulse.failing and pulse.successes == successes and await redis_answers()
        cut_off = cut_off + 1 if only_loop_fails else 0
        turns, successes = pulse.turns, pulse.successes
        if still >= still_max:
            return f"the poll loop has not turned for {still * period_s:.0f} s"
        if cut_off >= cut_off_max:
            return "new connections to Redis work, but those of the poll loop do not"
