"""The bundles of all versions in S3, addressed by their content; those that no version needs any more are deleted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from insula.errors import StoreUnavailable
from insula.keys import BUNDLES, bundle_object
from insula.objects import ObjectStore
from insula.registry import Registry

log = logging.getLogger(__name__)

KEPT: Final = timedelta(days=1)
"""How long one that no version names is kept: one that is being deployed is younger."""


class Bundles:
    """Stores bundles and sweeps them; only deployments make them, so only deployments and deletions sweep."""

    def __init__(self, objects: ObjectStore, registry: Registry) -> None:
        self._objects = objects
        self._registry = registry

    async def store(self, version: str, archive: bytes) -> None:
        """Keep the bundle of a version, if it is not there already. Raises StoreUnavailable."""
        if not await self._objects.exists(bundle_object(version)):
            await self._objects.write(bundle_object(version), _once(archive))

    async def sweep(self) -> None:
        """Delete those that no live API's version has; what a store that is away keeps is left to the next time."""
        before = datetime.now(UTC) - KEPT
        try:
            old = {key for key, written in (await self._objects.written(BUNDLES)).items() if written < before}
            versions = {version for api in (await self._registry.all()).values() for version in api.versions}
            for key in old - {bundle_object(version) for version in versions}:
                await self._objects.delete(key)
                log.info("bundle deleted", extra={"object": key})
        except StoreUnavailable as error:
            log.warning("bundles were not swept", extra={"error": str(error)})


async def _once(archive: bytes) -> AsyncIterator[bytes]:
    yield archive
