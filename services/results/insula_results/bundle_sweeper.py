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
"""Bundles are kept for at least a day, so an hour makes no difference."""


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
            log.warning("bundle sweep failed", extra={"error": str(error)})
