"""The lists of deployed APIs: their names, and the owner of each endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias, cast

from redis.asyncio import Redis

from insula.errors import EndpointTaken
from insula.keys import APIS, ENDPOINTS
from insula.registry.registration import Registration
from insula.stores.redis_client import redis_errors

CLAIM_MS: Final = 30_000
"""How long a claim without a registration is valid: its deployment may still be in progress."""

Find: TypeAlias = Callable[[str], Awaitable[Registration | None]]


@dataclass(frozen=True)
class EndpointClaim:
    """An API's claim to an endpoint, made by a deployment before it writes the API's registration."""

    claimed_ms: int
    api: str

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Parse a value of the endpoints hash."""
        claimed_ms, api, *_ = value.decode().split(" ")
        return cls(int(claimed_ms), api)

    def render(self) -> str:
        """Return the value for the endpoints hash."""
        return f"{self.claimed_ms} {self.api}"

    def stands(self, endpoint: str, registration: Registration | None, now_ms: int) -> bool:
        """Whether the claim to `endpoint` excludes other APIs. `registration` is the claiming API's, if it has one."""
        if registration is not None:
            if registration.live and registration.endpoint == endpoint:
                return True
            if self.claimed_ms <= max(registration.updated_ms, registration.deleted_ms):
                return False  # the API has another endpoint now, or was deleted
        return now_ms - self.claimed_ms < CLAIM_MS


class Index:
    """Reads and writes the hashes APIS and ENDPOINTS: each method uses one. Raises StoreUnavailable, StoreFull."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # redis-py leaves the replies of hash commands and of a watching pipeline untyped

    async def names(self) -> dict[str, bytes]:
        """Return every API, including deleted ones, with its mark: a value that changes with each deployment."""
        with redis_errors():
            found = cast(dict[bytes, bytes], await self._redis.hgetall(APIS))
        return {name.decode(): mark for name, mark in found.items()}

    async def add(self, name: str, now_ms: int) -> None:
        """Add an API to the list of APIs. Its mark is the time of its deployment."""
        with redis_errors():
            await self._redis.hset(APIS, name, now_ms)

    async def remove(self, name: str, mark: bytes) -> None:
        """Remove an API from the list if it still has this mark. Another mark means that it was deployed again."""

        async def attempt(pipeline: Any) -> None:
            found = await pipeline.hget(APIS, name)
            pipeline.multi()
            if found == mark:
                pipeline.hdel(APIS, name)

        with redis_errors():
            await self._redis.transaction(attempt, APIS)

    async def endpoints(self) -> dict[str, str]:
        """Return every endpoint with the API that claims it. A claim is outdated if the API's registration differs."""
        with redis_errors():
            found = cast(dict[bytes, bytes], await self._redis.hgetall(ENDPOINTS))
        return {endpoint.decode(): EndpointClaim.parse(value).api for endpoint, value in found.items()}

    async def claim(self, endpoint: str, api: str, now_ms: int, find: Find) -> None:
        """Claim an endpoint for an API. `find` reads a registration. Raises EndpointTaken if another API has it."""

        async def attempt(pipeline: Any) -> None:
            value = cast(bytes | None, await pipeline.hget(ENDPOINTS, endpoint))
            known = EndpointClaim.parse(value) if value else None
            if known and known.api != api and known.stands(endpoint, await find(known.api), now_ms):
                raise EndpointTaken(endpoint, known.api)
            pipeline.multi()
            pipeline.hset(ENDPOINTS, endpoint, EndpointClaim(now_ms, api).render())

        with redis_errors():
            await self._redis.transaction(attempt, ENDPOINTS)

    async def drop_claims(self, api: str, before_ms: int, *, but: str = "") -> None:
        """Remove the claims of an API that are older than `before_ms`, except the claim to the endpoint `but`."""

        async def attempt(pipeline: Any) -> None:
            found = cast(dict[bytes, bytes], await pipeline.hgetall(ENDPOINTS))
            claims = {endpoint: EndpointClaim.parse(value) for endpoint, value in found.items()}
            old = [key for key, claim in claims.items() if claim.api == api and claim.claimed_ms < before_ms]
            dropped = [endpoint for endpoint in old if endpoint.decode() != but]
            pipeline.multi()
            if dropped:
                pipeline.hdel(ENDPOINTS, *dropped)

        with redis_errors():
            await self._redis.transaction(attempt, ENDPOINTS)
