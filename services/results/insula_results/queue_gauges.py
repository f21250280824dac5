"""How long the queues are, for scrapes: one round trip to Redis for all APIs, whenever somebody looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.errors import StoreUnavailable
from insula.keys import ApiKeys
from insula.registry import Registry
from insula.status import Status
from insula.telemetry import Instrument, Reading, Telemetry

log = logging.getLogger(__name__)

QUEUED: Final = Instrument("cortex_async_queued", "{workload}", "Workloads that wait for a worker.")
QUEUE_LENGTH: Final = Instrument("cortex_async_queue_length", "{workload}", "The same, under its name before 0.42.")
IN_FLIGHT: Final = Instrument("cortex_async_in_flight", "{workload}", "Workloads that wait or run.")
LOOK_S: Final = 2.0


class QueueGauges:
    """The gauges of all live APIs. While Redis is away there are none: no figure is better than an old one."""

    def __init__(self, telemetry: Telemetry, redis: Redis) -> None:
        self._redis: Any = redis  # redis-py leaves the replies of a pipeline untyped
        self._registry = Registry(redis)
        self._counts: dict[str, tuple[int, int]] = {}
        telemetry.observe(QUEUED, lambda: self._readings(lambda queued, _: queued))
        telemetry.observe(QUEUE_LENGTH, lambda: self._readings(lambda queued, _: queued))
        telemetry.observe(IN_FLIGHT, lambda: self._readings(lambda queued, running: queued + running))

    async def look(self) -> None:
        """Read what the next scrape tells."""
        try:
            async with asyncio.timeout(LOOK_S):
                self._counts = await self._read()
        except (RedisError, OSError, StoreUnavailable) as error:  # TimeoutError is an OSError
            self._counts = {}
            log.warning("no queue lengths for this scrape", extra={"error": str(error)})

    async def _read(self) -> dict[str, tuple[int, int]]:
        apis = [name for name, registration in (await self._registry.all()).items() if registration.live]
        pipeline = self._redis.pipeline(transaction=False)
        for api in apis:
            pipeline.hmget(ApiKeys(api).counts, Status.IN_QUEUE.value, Status.IN_PROGRESS.value)
        rows: list[tuple[bytes | None, bytes | None]] = await pipeline.execute()
        return {api: (int(queued or 0), int(running or 0)) for api, (queued, running) in zip(apis, rows, strict=True)}

    def _readings(self, choose: Callable[[int, int], int]) -> list[Reading]:
        return [
            (choose(queued, running), {"api_name": api, "api_kind": "AsyncAPI"})
            for api, (queued, running) in self._counts.items()
        ]
