"""Follows the update streams in Redis, so that a caller can wait for a workload without polling."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

from redis.asyncio import Redis

from insula.errors import StoreUnavailable
from insula.keys import ApiKeys
from insula.status import Status
from insula.stores.redis_client import DOORBELL_S, redis_errors

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""Most updates in one read. Each has up to 8 changes."""
RETRY_S: Final = 0.5
ENDED: Final = frozenset(status for status in Status if status.ended)
ANY: Final = ""
"""Used in place of an id, to watch all workloads of an API."""


class Updates:
    """Sets an event for each watcher of a workload when its status changes. A watched API has one reader of Redis."""

    def __init__(self, blocking_redis: Redis) -> None:
        self._redis = blocking_redis
        self._feeds: dict[str, _Feed] = {}

    @asynccontextmanager
    async def watch(self, api: str, id: str = ANY) -> AsyncGenerator[asyncio.Event]:
        """Yield an event that is set after each change of workload `id`; the watcher clears it, then reads the record.

        Without `id`, the event is set after the change of any workload of the API.

        No change after entering the context is missed. The event may also be set without a change, for example after an
        outage of Redis.
        """
        feed = self._feeds.get(api)
        if feed is None:
            feed = self._feeds[api] = _Feed(self._redis, api)
        bell = asyncio.Event()
        feed.bells[id].add(bell)
        try:
            await feed.started.wait()
            yield bell
        finally:
            feed.bells[id].discard(bell)
            if not feed.bells[id]:
                del feed.bells[id]
            if not feed.bells and self._feeds.get(api) is feed:
                del self._feeds[api]
                feed.reader.cancel()

    @asynccontextmanager
    async def watch_ends(self, api: str, ids: Collection[str]) -> AsyncGenerator[Ends]:
        """Yield an Ends, which collects those of `ids` that end from now on. An outage of Redis may hide some ends."""
        async with self.watch(api):
            ends, feed = Ends(ids), self._feeds[api]
            feed.ends.add(ends)
            try:
                yield ends
            finally:
                feed.ends.discard(ends)


class Ends:
    """Collects the ids of awaited workloads that have ended."""

    def __init__(self, ids: Collection[str]) -> None:
        self._awaited = set(ids)
        self._ended: list[str] = []
        self._bell = asyncio.Event()

    def add(self, id: str) -> None:
        """Note that the workload `id` has ended. Does nothing unless it is awaited."""
        if id in self._awaited:
            self._awaited.discard(id)
            self._ended.append(id)
            self._bell.set()

    async def take(self, timeout_s: float) -> list[str]:
        """Return the ids that have ended since the last call. Waits for at least one, or for `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        self._bell.clear()
        ended, self._ended = self._ended, []
        return ended


class _Feed:
    """Reads the update stream of one API and notifies its watchers."""

    def __init__(self, redis: Redis, api: str) -> None:
        self.bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.ends: set[Ends] = set()
        self.started = asyncio.Event()
        self._redis: Any = redis  # redis-py leaves the replies of stream commands untyped
        self._stream = ApiKeys(api).updates
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        position: bytes | None = None
        while True:
            try:
                if position is None:
                    position = await self._newest()
                    self.started.set()
                    self._ring_all()
                entries = await self._after(position)
            except StoreUnavailable as error:
                shown = {"stream": self._stream, "error": str(error)}
                log.warning("cannot read the status changes of an API's workloads from Redis, retrying", extra=shown)
                position = None
                self.started.set()  # each watcher then reads the record, and gets the error there
                await asyncio.sleep(RETRY_S)
                continue
            for entry, fields in entries:
                position = entry
                for id, status in changes(fields):
                    self._ring(id)
                    if status in ENDED:
                        for ends in self.ends:
                            ends.add(id)
            if entries:
                self._ring(ANY)

    async def _newest(self) -> bytes:
        with redis_errors():
            entries = await self._redis.xrevrange(self._stream, count=1)
        return entries[0][0] if entries else b"0-0"

    async def _after(self, position: bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Return the updates after `position`; an empty list if there is none within DOORBELL_S."""
        command = ("XREAD", "COUNT", BATCH, "BLOCK", DOORBELL_S * 1000, "STREAMS", self._stream, position)
        with redis_errors():
            return _entries(await self._redis.execute_command(*command))

    def _ring(self, id: str) -> None:
        for bell in self.bells.get(id, ()):
            bell.set()

    def _ring_all(self) -> None:
        for id in self.bells:
            self._ring(id)


def changes(update: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Return the id and the new status of each workload in an entry of the stream; see `publish` in library.lua."""
    status = update[b"status"].decode()
    return [(id, status) for id in update[b"id"].decode().split(" ")]


def _entries(replies: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries in the reply of an XREAD of one stream, from RESP2 (a list) or RESP3 (a map)."""
    if not replies:
        return []
    if isinstance(replies, dict):
        [[entries]] = cast(dict[bytes, Any], replies).values()
    else:
        [[_, entries]] = replies
    return cast(list[tuple[bytes, dict[bytes, bytes]]], entries)
