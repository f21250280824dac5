"""Reads and writes the registrations of APIs and the reports of their workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis

from insula.errors import ApiNotFound
from insula.keys import ApiKeys
from insula.registry.index import Index
from insula.registry.old_shape import move_old_shape
from insula.registry.registration import Registration
from insula.stores.redis_client import redis_errors
from insula.v1.worker_service_pb2 import DescribeWorkerResponse, Worker

REPORT_S: Final = 5
"""Seconds between two reports of a worker. A worker that sends no report for three times as long counts as gone."""

Change: TypeAlias = Callable[[Registration | None], Registration]
"""A function that returns the new registration for the current one. It may be called again after a conflict."""


class Registry:
    """The registrations of all APIs, and the reports of their workers.

    Every method raises StoreUnavailable when Redis does not answer. Methods that write raise StoreFull at Redis' memory
    limit.
    """

    def __init__(self, redis: Redis, *, migrates: bool = True) -> None:
        """`migrates`: convert old formats. A worker does not do this: it may access only the keys of its own API."""
        self._redis: Any = redis  # redis-py leaves the replies of hash commands and of a watching pipeline untyped
        self._index = Index(redis)
        self._moved = not migrates

    async def all(self) -> dict[str, Registration]:
        """Return every API by name, including deleted ones."""
        await self._move()
        names = list(await self._index.names())
        with redis_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.hgetall(ApiKeys(name).registration)
            records: list[dict[bytes, bytes]] = await pipeline.execute()
        found = zip(names, records, strict=True)
        return {name: Registration.parse(name, record) for name, record in found if record}

    async def find(self, name: str) -> Registration | None:
        """Return one API, even if it is deleted; None if it does not exist. Reads no other API."""
        await self._move()
        with redis_errors():
            record = cast(dict[bytes, bytes], await self._redis.hgetall(ApiKeys(name).registration))
        return Registration.parse(name, record) if record else None

    async def endpoints(self) -> dict[str, str]:
        """Return the API that claims each endpoint. If its registration has another endpoint, the claim is outdated."""
        await self._move()
        return await self._index.endpoints()

    async def deploy(self, name: str, endpoint: str, version: str, spec: str, queue_limit: int) -> Registration:
        """Register the version that workers shall run. The same version again changes nothing. Safe to repeat.

        Raises EndpointTaken if another API has the endpoint. If this process is killed during the call, Redis has the
        old or the new registration, and perhaps a claim to the endpoint, which expires after CLAIM_MS.
        """
        now_ms = await self._now_ms()

        def change(known: Registration | None) -> Registration:
            if known is None or not known.live:
                return Registration(name, endpoint, version, spec, queue_limit, created_ms=now_ms, updated_ms=now_ms)
            if (known.version, known.spec) == (version, spec):
                return known
            return replace(
                known, endpoint=endpoint, version=version, spec=spec, queue_limit=queue_limit, updated_ms=now_ms
            )

        await self._move()
        await self._list(name, endpoint, now_ms)
        registration = await self._change(name, change)
        await self._list(name, endpoint, now_ms)  # again: a concurrent removal may have removed it
        await self._index.drop_claims(name, now_ms, but=endpoint)
        return registration

    async def promote(self, name: str, version: str) -> None:
        """Make `version` the active version, unless a later version has been deployed. Raises ApiNotFound."""

        def change(known: Registration | None) -> Registration:
            known = _live(name, known)
            if known.version != version or known.active_version == version:
                return known
            return replace(known, active_version=version, active_spec=known.spec)

        await self._change(name, change)

    async def refresh(self, name: str) -> Registration:
        """Make the workers of an API replace their handler processes. Raises ApiNotFound."""

        def change(known: Registration | None) -> Registration:
            known = _live(name, known)
            return replace(known, generation=known.generation + 1)

        return await self._change(name, change)

    async def delete(self, name: str) -> None:
        """Mark an API as deleted and free its endpoint. The registration stays as a tombstone. Raises ApiNotFound."""
        now_ms = await self._now_ms()
        await self._change(name, lambda known: replace(_live(name, known), deleted_ms=now_ms))

    async def remove(self, name: str) -> None:
        """Remove the tombstone of an API, unless the API was deployed again. Safe to repeat."""
        now_ms = await self._now_ms()
        mark = (await self._index.names()).get(name)
        key = ApiKeys(name).registration

        async def attempt(pipeline: Any) -> bool:
            record = await pipeline.hgetall(key)
            stays = bool(record) and Registration.parse(name, record).live
            pipeline.multi()
            if not stays:
                pipeline.delete(key)
            return stays

        with redis_errors():
            stays = await self._redis.transaction(attempt, key, value_from_callable=True)
        if stays:
            return
        await self._index.drop_claims(name, now_ms)
        if mark is not None:
            await self._index.remove(name, mark)

    async def tidy(self) -> None:
        """Remove APIs and endpoints without a registration, which a process left when it was killed."""
        listed = {*await self._index.names(), *(await self._index.endpoints()).values()}
        for name in listed - (await self.all()).keys():
            await self.remove(name)

    async def report(self, api: str, worker: str, releases: Sequence[Worker]) -> None:
        """Store a worker's report: one message for each version on it. Without a message, delete the report.

        The report expires if the worker stops reporting.
        """
        stamp = Timestamp()
        stamp.FromMilliseconds(await self._now_ms())
        for release in releases:
            release.report_time.CopyFrom(stamp)
        key = ApiKeys(api).workers
        with redis_errors():
            if not releases:
                await self._redis.hdel(key, worker)
                return
            await self._redis.hset(key, worker, DescribeWorkerResponse(workers=releases).SerializeToString())
            await self._redis.expire(key, 3 * REPORT_S)

    async def workers(self, api: str) -> list[Worker]:
        """Return the latest reports of an API's workers, one for each release, sorted by the worker's name."""
        now_ms = await self._now_ms()
        with redis_errors():
            values = cast(dict[bytes, bytes], await self._redis.hgetall(ApiKeys(api).workers))
        reported = [worker for value in values.values() for worker in DescribeWorkerResponse.FromString(value).workers]
        fresh = (worker for worker in reported if now_ms - worker.report_time.ToMilliseconds() < 3000 * REPORT_S)
        return sorted(fresh, key=lambda worker: worker.name)

    async def _list(self, name: str, endpoint: str, now_ms: int) -> None:
        await self._index.claim(endpoint, name, now_ms, self.find)
        await self._index.add(name, now_ms)

    async def _change(self, name: str, change: Change) -> Registration:
        """Apply `change` to a registration in one transaction. Fields that other versions of Insula added are kept."""
        await self._move()
        key = ApiKeys(name).registration

        async def attempt(pipeline: Any) -> Registration:
            record = await pipeline.hgetall(key)
            known = Registration.parse(name, record) if record else None
            changed = change(known)
            pipeline.multi()
            if changed != known:
                pipeline.hset(key, mapping=changed.fields())
            return changed

        with redis_errors():
            return cast(Registration, await self._redis.transaction(attempt, key, value_from_callable=True))

    async def _move(self) -> None:
        if not self._moved:
            await move_old_shape(self._redis)
            self._moved = True

    async def _now_ms(self) -> int:
        with redis_errors():
            seconds, microseconds = await self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000


def _live(name: str, known: Registration | None) -> Registration:
    if known is None or not known.live:
        raise ApiNotFound(name)
    return known
