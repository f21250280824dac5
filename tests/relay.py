"""Relays connections to a server on this machine. A relay can decrypt TLS, or change its server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import trustme


@asynccontextmanager
async def relaying(target: Callable[[], int], context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Listen on a new port. Forward each new connection to the port that `target` returns at that time."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target())
        with suppress(OSError):
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def encrypted(port: int, authority: trustme.CA) -> AsyncGenerator[int]:
    """Listen for TLS on a new port, as `localhost`, and forward the decrypted bytes to `port`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with relaying(lambda: port, context) as secure_port:
        yield secure_port


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()
