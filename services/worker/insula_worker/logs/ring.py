"""Keeps the latest log lines of a worker in bounded memory, for StreamLogs. Slow readers do not delay the worker."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from insula_worker.logs.line import line_fields

LINES_MAX: Final = 2000
BYTES_MAX: Final = 2 * 1024 * 1024


class LogRing:
    """The latest log lines. A reader that is too slow gets one line with the number of lines that it missed."""

    def __init__(self, lines_max: int = LINES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._lines_max = lines_max
        self._bytes_max = bytes_max
        self._lines: deque[tuple[str, bytes]] = deque()
        self._held_bytes = 0
        self._first = 0  # the number of the oldest line held
        self._news = asyncio.Event()
        self._closed = False

    def append(self, workload: str, line: bytes) -> None:
        """Add a line. Then remove the oldest lines while there are more than `lines_max` lines or `bytes_max` bytes."""
        self._lines.append((workload, line))
        self._held_bytes += len(line)
        while len(self._lines) > self._lines_max or self._held_bytes > self._bytes_max:
            self._held_bytes -= len(self._lines.popleft()[1])
            self._first += 1
        if not self._news.is_set():
            self._news.set()

    def close(self) -> None:
        """End every reader once it has read all lines in the ring."""
        self._closed = True
        self._news.set()

    async def read(self, *, follow: bool, workload: str = "") -> AsyncIterator[str]:
        """Yield the lines in the ring, oldest first. With `follow`, wait for further lines and yield them too.

        If `workload` is not empty, yield only the lines of this workload.
        """
        position, end = self._first, self._first + len(self._lines)
        while follow or position < end:
            if position < self._first:
                yield _missed(self._first - position)
                position = self._first
            if position < self._first + len(self._lines):
                owner, line = self._lines[position - self._first]
                position += 1
                if not workload or owner == workload:
                    yield line.decode("ascii")
                elif position % 100 == 0:
                    await asyncio.sleep(0)  # so that a long search does not block the event loop
            elif self._closed:
                return
            else:
                self._news.clear()
                await self._news.wait()


def _missed(lines: int) -> str:
    """Return a log line that reports the number of missing lines."""
    text = f"{lines} lines are missing here: they were written faster than this reader took them"
    return json.dumps({**line_fields(time.time(), "WARNING", text, {}), "linesMissing": lines})
