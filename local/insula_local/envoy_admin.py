"""The supervisor's calls to Envoy's admin socket."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

CALL_S: Final = 1.0


async def close_listeners(socket: Path) -> None:
    """Make Envoy refuse new connections of callers. S3 for handlers and running requests continue.

    Errors are ignored: if Envoy does not answer, it has ended, or will be stopped with the other parts.
    """
    try:
        async with asyncio.timeout(CALL_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            request = "POST /drain_listeners?inboundonly HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
            writer.write(f"{request}Connection: close\r\n\r\n".encode())
            await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        log.debug("envoy did not close its listeners", extra={"error": str(error)})
