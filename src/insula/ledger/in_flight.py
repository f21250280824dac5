"""The number of an API's workloads in flight (waiting or running), and its average over a window, for autoscaling.

The samples are in Redis, so every process computes the same average. Only APIs that are measured have samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from redis.asyncio import Redis

from insula.keys import ApiKeys
from insula.ledger import scripts
from insula.ledger.coalescer import Coalescer

_SAMPLE: Final = scripts.load("sample")

SLOT_MS_MIN: Final = 2000
SAMPLES_MAX: Final = 30
"""Most samples of an API: one for each slot of time. A slot is 2 s, or longer if the window is more than a minute."""


@dataclass(frozen=True)
class InFlight:
    """The number of workloads in flight now, and its average over the window or, if shorter, since the first sample."""

    now: int
    average: float


class InFlightMeter:
    """Measures the workloads in flight. Raises StoreUnavailable when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._commands = Coalescer(redis)

    async def measure(self, api: str, window: timedelta) -> InFlight:
        """Count the workloads of `api` in flight. The first call in each slot of time records the count as a sample.

        `window` is at least 10 s. It has up to SAMPLES_MAX slots of 2 s or more. For a correct average, call this at
        least once in each slot.
        """
        keys, window_ms = ApiKeys(api), int(window.total_seconds() * 1000)
        slot_ms = max(SLOT_MS_MIN, window_ms // SAMPLES_MAX)
        arguments = (*keys.all, keys.samples, keys.prefix, window_ms, slot_ms)
        reply = await self._commands.evaluate(_SAMPLE, *arguments, key_count=len(keys.all) + 1)
        now, total, number = cast(list[int], reply)
        return InFlight(now, total / number)
