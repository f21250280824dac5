"""The registry of APIs: which exist, at which version and endpoint, and which workers serve them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self, TypeAlias, cast

from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis

from insula.errors import ApiNotFound, EndpointTaken, StoreUnavailable
from insula.keys import APIS, ApiKeys
from insula.redis_client import redis_errors
from insula.v1.worker_service_pb2 import DescribeWorkerResponse, Worker

log = logging.getLogger(__name__)

REPORT_S: Final = 5
"""How often a worker reports; one that has not for three times as long is taken for gone."""
REFRESH_S: Final = 0.5
"""Age of a cached registry at most, so services are less than a second behind."""


@dataclass(frozen=True)
class Registration:
    """An API as deployed. `spec` is its configuration as canonical JSON; times are Redis' clock, Unix ms.

    `queue_limit` is derived from the configuration: workloads waiting or running at most (invariant I11). `generation`
    counts refreshes. `active_version` became ready last, and `active_spec` is its configuration; both are empty before
    the first. `deleted_ms` is 0 for a live API; a deleted one stays so that its workloads can be read.
    """

    name: str
    endpoint: str
    version: str
    spec: str
    queue_limit: int
    created_ms: int
    updated_ms: int
    active_version: str = ""
    active_spec: str = ""
    generation: int = 0
    deleted_ms: int = 0

    @property
    def live(self) -> bool:
        """Whether it takes workloads."""
        return self.deleted_ms == 0

    @property
    def active(self) -> Self | None:
        """The version that became ready last, as if it were the wanted one; None if it is, or none ever was."""
        if not self.active_spec or self.active_version == self.version:
            return None
        return replace(self, version=self.active_version, spec=self.active_spec)

    @property
    def versions(self) -> set[str]:
        """The versions whose bundles a worker may ask for; none of a deleted API."""
        return {self.version, self.active_version} if self.live else set()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From a value of the registry hash."""
        return cls(**json.loads(text))

    def render(self) -> str:
        """The value of the registry hash."""
        return json.dumps(asdict(self))


Change: TypeAlias = Callable[[dict[str, Registration]], Registration | None]
"""From the registry as it stands to the registration to write, if any. May run more than once."""


class Registry:
    """Reads and writes the registry. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def all(self) -> dict[str, Registration]:
        """Every API by name, deleted ones too."""
        with redis_errors():
            values = cast(dict[bytes, bytes], await self._redis.hgetall(APIS))
        return {name.decode(): Registration.parse(value) for name, value in values.items()}

    async def deploy(self, name: str, endpoint: str, version: str, spec: str, queue_limit: int) -> Registration:
        """Register a version, which becomes the wanted one; the same version again changes nothing.

        Raises EndpointTaken if another API has the endpoint. Atomic: WATCH and MULTI over the registry hash.
        """
        now_ms = await self._now_ms()

        def change(apis: dict[str, Registration]) -> Registration:
            others = (api for api in apis.values() if api.live and api.name != name)
            owner = next((api.name for api in others if api.endpoint == endpoint), None)
            if owner is not None:
                raise EndpointTaken(endpoint, owner)
            known = apis.get(name)
            if known is None or not known.live:
                return Registration(name, endpoint, version, spec, queue_limit, created_ms=now_ms, updated_ms=now_ms)
            if known.version == version:
                return known
            return replace(
                known, endpoint=endpoint, version=version, spec=spec, queue_limit=queue_limit, updated_ms=now_ms
            )

        return cast(Registration, await self._change(change))

    async def promote(self, name: str, version: str) -> None:
        """Make `version` the active one, if it is still the wanted one. Raises ApiNotFound."""

        def change(apis: dict[str, Registration]) -> Registration | None:
            known = _live(apis, name)
            if known.version != version or known.active_version == version:
                return None
            return replace(known, active_version=version, active_spec=known.spec)

        await self._change(change)

    async def refresh(self, name: str) -> Registration:
        """Ask the workers of an API for fresh handler processes. Raises ApiNotFound."""

        def change(apis: dict[str, Registration]) -> Registration:
            known = _live(apis, name)
            return replace(known, generation=known.generation + 1)

        return cast(Registration, await self._change(change))

    async def delete(self, name: str) -> None:
        """Turn an API into a tombstone. Raises ApiNotFound."""
        now_ms = await self._now_ms()
        await self._change(lambda apis: replace(_live(apis, name), deleted_ms=now_ms))

    async def remove(self, name: str) -> None:
        """Remove the tombstone of an API; one that was deployed again meanwhile stays."""

        async def attempt(pipeline: Any) -> None:
            value = await pipeline.hget(APIS, name)
            pipeline.multi()
            if value is not None and not Registration.parse(value).live:
                pipeline.hdel(APIS, name)

        with redis_errors():
            await self._redis.transaction(attempt, APIS)

    async def report(self, api: str, worker: str, releases: Sequence[Worker]) -> None:
        """Record what a worker says of itself, once for each version it holds; none means that it ends.

        What was reported is forgotten when the worker falls silent.
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
        """The workers of an API that reported lately, by name; one entry for each version a worker holds."""
        now_ms = await self._now_ms()
        with redis_errors():
            values = cast(dict[bytes, bytes], await self._redis.hgetall(ApiKeys(api).workers))
        reported = [worker for value in values.values() for worker in DescribeWorkerResponse.FromString(value).workers]
        fresh = (worker for worker in reported if now_ms - worker.report_time.ToMilliseconds() < 3000 * REPORT_S)
        return sorted(fresh, key=lambda worker: worker.name)

    async def _change(self, change: Change) -> Registration | None:
        async def attempt(pipeline: Any) -> Registration | None:  # redis' types do not know that it answers at once
            values = await pipeline.hgetall(APIS)
            changed = change({name.decode(): Registration.parse(value) for name, value in values.items()})
            pipeline.multi()
            if changed is not None:
                pipeline.hset(APIS, changed.name, changed.render())
            return changed

        with redis_errors():
            return cast(Registration | None, await self._redis.transaction(attempt, APIS, value_from_callable=True))

    async def _now_ms(self) -> int:
        with redis_errors():
            seconds, microseconds = await self._redis.time()
        return seconds * 1000 + microseconds // 1000


def _live(apis: dict[str, Registration], name: str) -> Registration:
    if name not in apis or not apis[name].live:
        raise ApiNotFound(name)
    return apis[name]


class RegistryCache:
    """A copy of the registry for the services' hot path, at most REFRESH_S old; a miss asks again at once."""

    def __init__(self, registry: Registry, *, tombstones: bool) -> None:
        """`tombstones` also finds deleted APIs, for reads; of two with one endpoint, the live one."""
        self._registry = registry
        self._tombstones = tombstones
        self._by_name: dict[str, Registration] = {}
        self._by_endpoint: dict[str, Registration] = {}
        self._refreshed_at = -REFRESH_S
        self._refreshing = asyncio.Lock()
        self._attempts = 0
        self._outage: StoreUnavailable | None = None

    async def by_name(self, name: str) -> Registration:
        """The API called `name`. Raises ApiNotFound, or StoreUnavailable if it is not cached either."""
        found = self._by_name.get(name)
        if found is None or self._stale():
            await self._refresh(missing=found is None)
            found = self._by_name.get(name)
        if found is None:
            raise ApiNotFound(name)
        return found

    async def by_endpoint(self, endpoint: str) -> Registration:
        """The API at `endpoint`, with or without its leading slash. Raises as `by_name` does."""
        path = "/" + endpoint.lstrip("/")
        found = self._by_endpoint.get(path)
        if found is None or self._stale():
            await self._refresh(missing=found is None)
            found = self._by_endpoint.get(path)
        if found is None:
            raise ApiNotFound(path.removeprefix("/~"))  # how the edge writes a name that it read in the host
        return found

    def _stale(self) -> bool:
        return asyncio.get_running_loop().time() - self._refreshed_at >= REFRESH_S

    async def _refresh(self, *, missing: bool) -> None:
        """Read the registry; whoever waits meanwhile shares the outcome.

        While Redis is away what is cached stays good: only a miss is an error.
        """
        before = self._attempts
        async with self._refreshing:
            if self._attempts == before:
                await self._attempt()
        if missing and self._outage is not None:
            raise self._outage

    async def _attempt(self) -> None:
        try:
            apis = await self._registry.all()
            self._outage = None
        except StoreUnavailable as error:
            self._outage = error
            return
        finally:
            self._attempts += 1
            self._refreshed_at = asyncio.get_running_loop().time()
        found = sorted((api for api in apis.values() if api.live or self._tombstones), key=lambda api: api.live)
        self._by_name = {api.name: api for api in found}
        self._by_endpoint = {api.endpoint: api for api in found}
