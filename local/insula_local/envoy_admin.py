"""Closes Envoy's listeners for callers, with a call to its admin socket."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from insula_envoy import admin

log = logging.getLogger(__name__)


async def close_listeners(socket: Path) -> None:
    """Make Envoy refuse new connections of callers. Running requests continue, and handlers can still reach S3.

    Errors are ignored: if Envoy does not answer, it has ended, or will be stopped with the other parts.
    """
    try:
        await asyncio.to_thread(admin.call, socket, "POST", "/drain_listeners?inboundonly")
    except admin.EnvoyUnavailable as error:
        log.debug("cannot make Envoy refuse new calls: it has ended or will be stopped", extra={"error": str(error)})
