"""The project bundles of all versions in S3, addressed by their content."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from insula.errors import StoreUnavailable
from insula.stores.object_keys import BUNDLES, bundle_object
from insula.stores.objects import ObjectNotFound, ObjectStore

log = logging.getLogger(__name__)

KEPT: Final = timedelta(days=1)
"""How long a bundle without a version is kept. It may belong to a deployment in progress, which takes less time."""


class Bundles:
    """The bundles in one bucket. Every method raises StoreUnavailable if S3 is unavailable or refuses the request."""

    def __init__(self, objects: ObjectStore, *, kept: timedelta = KEPT) -> None:
        self._objects = objects
        self._kept = kept

    async def store(self, version: str, archive: bytes) -> None:
        """Store the bundle of a version. It is kept for at least half of `kept`, and while `sweep` gets the version.

        A bundle that is younger than half of `kept` is not written again.
        """
        key = bundle_object(version)
        written = (await self._objects.written(key)).get(key)
        if written is None or written < datetime.now(UTC) - self._kept / 2:
            await self._objects.write(key, _once(archive))

    async def fetch(self, version: str) -> bytes:
        """Return the bundle of a version. Raises StoreUnavailable if it does not exist, too."""
        try:
            return b"".join([chunk async for chunk in self._objects.read(bundle_object(version))])
        except ObjectNotFound as error:
            raise StoreUnavailable("S3", str(error), summary="S3 does not have the bundle") from error

    async def sweep(self, versions: Iterable[str]) -> None:
        """Delete every bundle that is older than `kept` and belongs to none of `versions`."""
        before = datetime.now(UTC) - self._kept
        old = {key for key, written in (await self._objects.written(BUNDLES)).items() if written < before}
        for key in old - {bundle_object(version) for version in versions}:
            if (await self._objects.written(key)).get(key, before) < before:  # not deployed again since
                await self._objects.delete(key)
                log.info("bundle deleted", extra={"object": key})


async def _once(archive: bytes) -> AsyncIterator[bytes]:
    yield archive
