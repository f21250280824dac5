"""A copy of the registry in memory, so that not every request has to read it from Redis."""

from __future__ import annotations

import asyncio
from typing import Final

from insula.errors import ApiNotFound, StoreUnavailable
from insula.registry.registration import Registration
from insula.registry.registry import Registry

REFRESH_S: Final = 0.5
"""Greatest age of the copy."""


class RegistryCache:
    """A copy of the registry, at most REFRESH_S old. A call for an API that it lacks reads the registry at once."""

    def __init__(self, registry: Registry, *, tombstones: bool) -> None:
        """With `tombstones`, deleted APIs are found too, unless a live API has the same endpoint."""
        self._registry = registry
        self._tombstones = tombstones
        self._by_name: dict[str, Registration] = {}
        self._by_endpoint: dict[str, Registration] = {}
        self._refreshed_at = -REFRESH_S
        self._refreshing = asyncio.Lock()
        self._attempts = 0
        self._outage: StoreUnavailable | None = None

    async def by_name(self, name: str) -> Registration:
        """Return the API `name`. Raises ApiNotFound. If the copy lacks the API, an outage raises StoreUnavailable."""
        found = self._by_name.get(name)
        if found is None or self._stale():
            await self._refresh(missing=found is None)
            found = self._by_name.get(name)
        if found is None:
            raise ApiNotFound(name)
        return found

    async def by_endpoint(self, endpoint: str) -> Registration:
        """Return the API at `endpoint`; the leading slash is optional. Raises the errors of `by_name`."""
        path = "/" + endpoint.lstrip("/")
        found = self._by_endpoint.get(path)
        if found is None or self._stale():
            await self._refresh(missing=found is None)
            found = self._by_endpoint.get(path)
        if found is None:
            raise ApiNotFound(path.removeprefix("/~"))  # the edge sends a name from the Host header in this form
        return found

    def _stale(self) -> bool:
        return asyncio.get_running_loop().time() - self._refreshed_at >= REFRESH_S

    async def _refresh(self, *, missing: bool) -> None:
        """Read the registry. Concurrent callers share one read.

        While Redis is unavailable, the old copy stays in use. Then StoreUnavailable is raised only with `missing`,
        which means that the old copy lacks the API of the call.
        """
        before = self._attempts
        async with self._refreshing:
            if self._attempts == before:
                await self._attempt()
        if missing and self._outage is not None:
            raise self._outage

    async def _attempt(self) -> None:
        try:
            apis, owners = await asyncio.gather(self._registry.all(), self._registry.endpoints())
            self._outage = None
        except StoreUnavailable as error:
            self._outage = error
            return
        finally:
            self._attempts += 1
            self._refreshed_at = asyncio.get_running_loop().time()
        self._by_name = {name: api for name, api in apis.items() if api.live or self._tombstones}
        claims = ((endpoint, self._by_name.get(owner)) for endpoint, owner in owners.items())
        self._by_endpoint = {endpoint: api for endpoint, api in claims if api and api.endpoint == endpoint}
