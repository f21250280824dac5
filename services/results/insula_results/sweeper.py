"""The retention sweeper: removes what is past its time from Redis and S3, so that nothing is kept for ever (I9).

Every replica of results sweeps; each step may be repeated, and by several at once. Objects go first and records after
them: what could not be deleted from S3 is found again by the next sweep.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import Final

from insula.errors import StoreFull, StoreUnavailable
from insula.keys import workload_objects
from insula.ledger.retention import Expired, Retention
from insula.objects import ObjectStore
from insula.registry import Registry

log = logging.getLogger(__name__)

PAGE: Final = 500
PERIOD_MAX: Final = timedelta(minutes=1)
SWEEPS_PER_RETENTION: Final = 10
"""Of a short retention; of one of days, a sweep a minute is far more."""


class Sweeper:
    """Sweeps all APIs again and again."""

    def __init__(self, registry: Registry, retention: Retention, objects: ObjectStore, period: timedelta) -> None:
        self._registry = registry
        self._retention = retention
        self._objects = objects
        self._period_s: Final = period.total_seconds()

    async def run_for_ever(self) -> None:
        """Sweep until cancelled; what a store that is away keeps from being done is left to the next sweep."""
        while True:
            await asyncio.sleep(self._period_s * random.uniform(0.5, 1.5))  # replicas spread out
            try:
                await self.sweep()
            except (StoreUnavailable, StoreFull) as error:
                log.warning("sweep was cut short", extra={"error": str(error)})

    async def sweep(self) -> None:
        """Forget what is expired, delete what was never committed, drop APIs that were deleted and have no records."""
        for api in (await self._registry.all()).values():
            forgotten = await self._forget_expired(api.name)
            deleted = await self._delete_stale_uploads(api.name)
            if forgotten or deleted:
                log.info("swept", extra={"api": api.name, "workloads": forgotten, "uploads": deleted})
            if not api.live and await self._retention.drop(api.name):
                await self._registry.remove(api.name)
                log.info("api removed", extra={"api": api.name})

    async def _forget_expired(self, api: str) -> int:
        forgotten = 0
        while expired := await self._retention.expired(api, count=PAGE):
            await asyncio.gather(*(self._forget(api, one) for one in expired))
            forgotten += len(expired)
        return forgotten

    async def _forget(self, api: str, expired: Expired) -> None:
        if expired.has_objects:
            await self._objects.delete_all(workload_objects(api, expired.id))
        await self._retention.forget(api, expired.id)

    async def _delete_stale_uploads(self, api: str) -> int:
        stale = await self._retention.stale_uploads(api)
        for key in stale:
            await self._objects.delete_all(key)
            await self._retention.forget_upload(api, key)
        return len(stale)


def period_for(retention: timedelta) -> timedelta:
    """How long after its retention something may stay: a minute at most."""
    return min(PERIOD_MAX, retention / SWEEPS_PER_RETENTION)
