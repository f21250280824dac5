"""Exports the queue lengths of all APIs to Prometheus. Each scrape reads them from Redis in a few round trips."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from insula.errors import StoreUnavailable
from insula.ledger import WorkloadLedger
from insula.registry import Registry
from insula.status import Status
from insula.telemetry.metrics import Instrument, Reading, Telemetry

log = logging.getLogger(__name__)

QUEUED: Final = Instrument("cortex_async_queued", "{workload}", "Workloads that wait for a worker.")
QUEUE_LENGTH: Final = Instrument(
    "cortex_async_queue_length", "{workload}", "The same, under the name of Cortex before 0.42."
)
IN_FLIGHT: Final = Instrument("cortex_async_in_flight", "{workload}", "Workloads that wait or run.")
LOOK_S: Final = 2.0


class QueueGauges:
    """The gauges of all APIs that are not deleted. They have no values during an outage of Redis: old ones mislead."""

    def __init__(self, telemetry: Telemetry, registry: Registry, ledger: WorkloadLedger) -> None:
        self._registry = registry
        self._ledger = ledger
        self._counts: dict[str, tuple[int, int]] = {}
        telemetry.observe(QUEUED, lambda: self._readings(lambda queued, _: queued))
        telemetry.observe(QUEUE_LENGTH, lambda: self._readings(lambda queued, _: queued))
        telemetry.observe(IN_FLIGHT, lambda: self._readings(lambda queued, running: queued + running))

    async def look(self) -> None:
        """Read the queue lengths of all APIs from Redis. The next scrape returns them."""
        try:
            async with asyncio.timeout(LOOK_S):
                self._counts = await self._read()
        except (StoreUnavailable, TimeoutError) as error:
            self._counts = {}
            reason = str(error) or f"no answer within {LOOK_S:g} s"
            log.warning("no queue lengths in the metrics: Redis is unavailable", extra={"error": reason})

    async def _read(self) -> dict[str, tuple[int, int]]:
        apis = [name for name, registration in (await self._registry.all()).items() if registration.live]
        rows = await asyncio.gather(*(self._ledger.counts(api) for api in apis))
        return {api: (row[Status.IN_QUEUE], row[Status.IN_PROGRESS]) for api, row in zip(apis, rows, strict=True)}

    def _readings(self, choose: Callable[[int, int], int]) -> list[Reading]:
        return [
            (choose(queued, running), {"api_name": api, "api_kind": "AsyncAPI"})
            for api, (queued, running) in self._counts.items()
        ]
