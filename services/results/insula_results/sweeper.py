"""The retention sweeper: deletes expired workloads from Redis and S3 (invariant I9).

Every replica of results sweeps. Each step is safe to repeat, also by several replicas at once. A workload's objects are
deleted before its record, so the next sweep finds objects that could not be deleted from S3.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from insula.errors import StoreFull, StoreUnavailable
from insula.ledger import WorkloadLedger
from insula.ledger.retention import Expired, Retention
from insula.registry import Registration, Registry
from insula.stores.object_keys import possible_objects, workload_objects
from insula.stores.objects import ObjectStore

log = logging.getLogger(__name__)

PAGE: Final = 500
PERIOD_MAX: Final = timedelta(minutes=1)
SWEEPS_PER_RETENTION: Final = 10
"""Number of sweeps within one retention of less than 10 minutes. With a longer retention there is one each minute."""
CALLS_MAX: Final = 4
"""Maximum number of concurrent S3 calls of a sweeper, so that reads of results stay fast."""


class Sweeper:
    """Deletes expired data of all APIs periodically."""

    def __init__(self, registry: Registry, ledger: WorkloadLedger, retention: Retention, objects: ObjectStore) -> None:
        """`objects` allows CALLS_MAX concurrent calls. Only this sweeper uses it."""
        self._registry = registry
        self._ledger = ledger
        self._retention = retention
        self._objects = objects
        self._period_s: Final = period_for(ledger.policy.retention).total_seconds()
        self._steady = False

    async def run_for_ever(self) -> None:
        """Sweep periodically until cancelled. After an outage of a store, the next sweep deletes what is left."""
        while True:
            await asyncio.sleep(self._period_s * random.uniform(0.5, 1.0))  # replicas spread out
            try:
                await self.sweep()
            except (StoreUnavailable, StoreFull) as error:
                self._steady = False
                log.warning("expired data not deleted, the next sweep will retry", extra={"error": str(error)})

    async def sweep(self) -> None:
        """Sweep once: delete expired workloads, payloads without a workload, and deleted APIs that have no records."""
        steady = True
        await self._registry.tidy()
        for api in (await self._registry.all()).values():
            try:
                await self._sweep(api)
            except (StoreUnavailable, StoreFull) as error:  # the other APIs are still swept
                steady = False
                log.warning(
                    "expired data of an API not deleted, the next sweep will retry",
                    extra={"api": api.name, "error": str(error)},
                )
        self._steady = steady

    async def _sweep(self, api: Registration) -> None:
        # Right after an outage of Redis no lease has been renewed, so an old lease proves nothing.
        if not api.live and self._steady and (cancelled := await self._retention.abandon(api.name, count=PAGE)):
            log.warning(
                "cancelled the workloads of a deleted api whose worker is gone",
                extra={"api": api.name, "workloads": cancelled},
            )
        forgotten = await self._forget_expired(api.name)
        deleted = await self._delete_stale_uploads(api.name)
        if forgotten or deleted:
            log.info(
                "deleted expired workloads, and payloads of submits that did not complete",
                extra={"api": api.name, "workloads": forgotten, "payloads": deleted},
            )
        if not api.live and await self._retention.drop(api.name):
            await self._registry.remove(api.name)
            log.info("deleted api has no data left: removed from the registry", extra={"api": api.name})

    async def _forget_expired(self, api: str) -> int:
        """Delete expired workloads, a page at a time. Returns their number.

        Raises StoreUnavailable if objects of a page could not be deleted.
        """
        forgotten, more = 0, True
        while more:
            expired, more = await self._retention.expired(api, count=PAGE)
            await self._abort_uploads(api, {key for one in expired for key in _objects_of(api, one)})
            outcomes = await asyncio.gather(*(self._forget(api, one) for one in expired), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            forgotten += sum(outcome is True for outcome in outcomes)
            if expired and not any(outcomes):
                break  # another replica was faster; the next sweep does the rest
        return forgotten

    async def _forget(self, api: str, expired: Expired) -> bool:
        if expired.is_bucket:
            await self._delete_unrecorded(api, expired.id)
        for key in _objects_of(api, expired):
            await self._objects.delete(key)
        return await self._retention.forget(api, expired.id)

    async def _abort_uploads(self, api: str, keys: Collection[str]) -> None:
        if keys:
            await self._objects.abort_uploads(f"{api}/", keys)

    async def _delete_unrecorded(self, api: str, bucket: str) -> None:
        """Delete the S3 objects of workloads without a record. `bucket` is the prefix of their ids."""
        folders = {key.split("/")[1] for key in await self._objects.keys(f"{api}/{bucket}")}
        for id in folders:
            if await self._ledger.read(api, id) is None:
                await self._objects.delete_all(workload_objects(api, id))

    async def _delete_stale_uploads(self, api: str) -> int:
        """Delete payloads in S3 whose submit did not complete. Returns their number.

        The ledger refuses a submit that completes later, because the upload is too old.
        """
        stale = await self._retention.stale_uploads(api)
        await self._abort_uploads(api, stale)
        for key in stale:
            await self._objects.delete(key)  # first: if we end in between, the note stays, and no submit uses it
            await self._ledger.withdraw_upload(api, key)
        return len(stale)


def _objects_of(api: str, expired: Expired) -> list[str]:
    """Return all S3 keys that an expired workload may have used. On S3, deleting a key is free, listing keys is not."""
    known = expired.has_objects and not expired.is_bucket
    return possible_objects(api, expired.id, expired.attempts) if known else []


def period_for(retention: timedelta) -> timedelta:
    """Return the longest time between two sweeps: at most a minute. Expired data may stay for this time."""
    return min(PERIOD_MAX, retention / SWEEPS_PER_RETENTION)
