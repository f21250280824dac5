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

FIRST_S: Final = 600
"""Longest time from the start of results to the first sweep. A stack that is stopped earlier does without."""
PERIOD_S: Final = 3600
"""Longest time between two sweeps. An unused bundle is kept for at least a day, so an hour more does no harm."""


async def sweep_bundles(bundles: Bundles, registry: Registry) -> None:
    """Delete unused bundles about once an hour, until cancelled. After an outage of a store, the next sweep retries."""
    period_s = FIRST_S
    while True:
        await asyncio.sleep(period_s * random.uniform(0.5, 1.0))  # replicas spread out
        period_s = PERIOD_S
        try:
            apis = await registry.all()
            await bundles.sweep(version for api in apis.values() for version in api.versions)
        except StoreUnavailable as error:
            log.warning("could not delete unused bundles; the next sweep tries again", extra={"error": str(error)})
