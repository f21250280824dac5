"""Deletes the project bundles that no version needs."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from insula.bundles import Bundles
from insula.errors import StoreUnavailable
from insula.registry import Registry

log = logging.getLogger(__name__)

FIRST_S: Final = 60
"""Delay of the first sweep, so that it does not slow the start."""
PERIOD_S: Final = 3600
"""A bundle is kept for a day at least, so it may be deleted an hour late."""


async def sweep_bundles(bundles: Bundles, registry: Registry) -> None:
    """Sweep until cancelled. If a store is unavailable, the next sweep does the rest."""
    period_s = FIRST_S
    while True:
        await asyncio.sleep(period_s * random.uniform(0.5, 1.0))  # replicas spread out
        period_s = PERIOD_S
        try:
            apis = await registry.all()
            await bundles.sweep(version for api in apis.values() for version in api.versions)
        except StoreUnavailable as error:
            log.warning("could not delete unused bundles; the next sweep tries again", extra={"error": str(error)})
