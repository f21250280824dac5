"""A proxy in front of a real S3 server. It answers some requests with an error, or closes their connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

_HEAD_END = b"\r\n\r\n"


class FailingS3:
    """Answers with `status` each request whose first line matches `pattern`, and forwards all others.

    `status` 0 closes the connection without an answer. An empty `pattern` matches no request.
    """

    def __init__(self, upstream: Path) -> None:
        self.pattern = ""
        self.status = 0
        self.failures = 0
        self._upstream = upstream
        self.endpoint = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one request."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(_HEAD_END)
            if self.pattern and re.match(self.pattern.encode(), head):
                self.failures += 1
                if self.status:
                    phrase = HTTPStatus(self.status).phrase
                    writer.write(f"HTTP/1.1 {self.status} {phrase}\r\nContent-Length: 0\r\n".encode())
                    writer.write(b"Connection: close" + _HEAD_END)
                    await writer.drain()
            else:
                await self._forward(head, reader, writer)
        writer.close()

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_unix_connection(self._upstream)
        forth.write(head.removesuffix(_HEAD_END) + b"\r\nConnection: close" + _HEAD_END)
        sending = asyncio.create_task(_pump(reader, forth))
        await _pump(back, writer)
        sending.cancel()
        forth.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


@asynccontextmanager
async def failing_s3(upstream: Path) -> AsyncGenerator[FailingS3]:
    """Run a proxy in front of the S3 server at the Unix socket `upstream`. At first it forwards all requests."""
    proxy = FailingS3(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    proxy.endpoint = f"http://{host}:{port}"
    async with server:
        yield proxy
