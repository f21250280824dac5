"""The metrics address for Prometheus. Forwards each scrape to the Unix socket of a part.

GET /results/metrics         the queues of all APIs
GET /workers/<api>/metrics   a worker and its handler; <api>.1 in place of <api> is the API's second worker
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from insula.telemetry.metrics import SCRAPE_S, response

RESULTS: Final = "/results/metrics"
PIECE_BYTES: Final = 64 * 1024
_REQUEST: Final = re.compile(rb"(GET|HEAD) (?:/results|/workers/(?P<worker>[a-z0-9-]+(?:\.[0-9]+)?))/metrics[? ]")


def worker_path(worker: str) -> str:
    """Return the URL path of a worker's metrics. `worker` is the worker's short name."""
    return f"/workers/{worker}/metrics"


class Scrapes:
    """The server of the metrics address. It serves one request for each connection."""

    def __init__(self, results: Path, worker: Callable[[str], Path]) -> None:
        """`results` is the metrics socket of results. `worker` returns the metrics socket for a worker's short name."""
        self._results = results
        self._worker = worker
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Start listening. Raises OSError."""
        self._server = await asyncio.start_server(self._answer, host, port)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(SCRAPE_S):
                request = _REQUEST.match(await reader.readuntil(b"\r\n\r\n"))
                if request is None:
                    writer.write(response("404 Not Found", f"try {RESULTS} or {worker_path('<api>')}\n"))
                else:
                    await self._relay(request, writer)
                await writer.drain()
        writer.close()

    async def _relay(self, request: re.Match[bytes], writer: asyncio.StreamWriter) -> None:
        worker = request["worker"]
        try:
            answer, asked = await asyncio.open_unix_connection(
                self._worker(worker.decode()) if worker else self._results
            )
        except OSError:
            writer.write(response("503 Service Unavailable", "this part is not running\n"))
            return
        try:
            asked.write(request[1] + b" /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while piece := await answer.read(PIECE_BYTES):
                writer.write(piece)
                await writer.drain()
        finally:
            asked.close()
