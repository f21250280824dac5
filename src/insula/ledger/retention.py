"""Deletion of records whose retention is over, for the sweeper. Each method is one atomic step, safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis

from insula.keys import BUCKET_CHARS, ApiKeys
from insula.ledger import scripts
from insula.ledger.coalescer import Coalescer
from insula.ledger.ledger import UPLOAD_S, LedgerPolicy
from insula.ledger.replies import Done, word

_EXPIRED: Final = scripts.load("expired")
_FORGET: Final = scripts.load("forget")
_DROP: Final = scripts.load("drop")
_ABANDON: Final = scripts.load("abandon")

LOOKED_AT: Final = 5_000
"""Most records that one step reads. Such a step takes a few milliseconds, in which Redis serves no other client."""
ABANDONED_LEASES: Final = 3
"""Lease lengths without a renewal after which a worker counts as gone. Outages of Redis are usually shorter."""


@dataclass(frozen=True)
class Expired:
    """An ended workload whose retention is over, whether S3 may hold objects of it, and the number of its attempts.

    A bucket is a hash with the records of many workloads. If Redis has already dropped a bucket, one Expired
    represents all its workloads, and `id` is the prefix of their ids. Workloads with this prefix that still have a
    record are not expired.
    """

    id: str
    has_objects: bool
    attempts: int

    @property
    def is_bucket(self) -> bool:
        """Whether `id` is the prefix of a bucket."""
        return len(self.id) == BUCKET_CHARS


class Retention:
    """Deletes expired workloads and cancels abandoned ones. Every method raises StoreUnavailable on an outage."""

    def __init__(self, redis: Redis, policy: LedgerPolicy) -> None:
        self._commands = Coalescer(redis)
        self._policy = policy

    async def expired(self, api: str, *, count: int) -> tuple[list[Expired], bool]:
        """Return about `count` > 0 expired workloads, by Redis' clock, and whether there may be more.

        The buckets that ended first come first. There may be more even if the list is empty; then call again.
        """
        reply = await self._run(_EXPIRED, api, self._policy.retention_s, count, LOOKED_AT)
        more, *rows = cast(list[Any], reply)
        return [Expired(id.decode(), bool(has_objects), attempts) for id, has_objects, attempts in rows], bool(more)

    async def forget(self, api: str, id: str) -> bool:
        """Delete an expired workload from Redis and from the counts. Returns whether anything was deleted."""
        return word(Done, "forget", await self._run(_FORGET, api, id, self._policy.retention_s)) is Done.NOW

    async def drop(self, api: str) -> bool:
        """Delete the keys of a deleted API, if it has no workload and no upload left. Returns whether they are gone."""
        return word(Done, "drop", await self._run(_DROP, api)) is Done.NOW

    async def stale_uploads(self, api: str) -> list[str]:
        """Return the S3 keys of payloads without a workload: not committed within UPLOAD_S, or discarded."""
        seconds, _ = cast(tuple[bytes, bytes], await self._commands.execute("TIME"))
        cutoff_ms = (int(seconds) - UPLOAD_S) * 1000
        reply = await self._commands.execute("ZRANGEBYSCORE", ApiKeys(api).uploads, "-inf", cutoff_ms)
        return [member.decode() for member in cast(list[bytes], reply)]

    async def abandon(self, api: str, *, count: int) -> int:
        """Cancel up to `count` > 0 workloads of a deleted API whose worker is gone. Returns how many were cancelled."""
        idle_ms = ABANDONED_LEASES * self._policy.lease_ms
        return cast(int, await self._run(_ABANDON, api, idle_ms, self._policy.retention_s, count))

    async def _run(self, script: scripts.Script, api: str, *arguments: str | int) -> object:
        keys = ApiKeys(api)
        return await self._commands.evaluate(script, *keys.all, keys.prefix, *arguments, key_count=len(keys.all))
