r"""NDJSON: cuts a body into lines. A line ends with \n or \r\n; the last one may end with the body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

LINE_BYTES_MAX: Final = 256 * 1024
"""Longer lines are not held in memory as a whole: they are yielded in pieces."""


class Lines:
    """The lines of one body, without line breaks. Lines that are empty or only white space are left out.

    Iteration yields lists of whole lines, and for each long line an iterator of its pieces. Read this iterator to its
    end before the next iteration.
    """

    def __init__(self, chunks: AsyncIterator[bytes], check_end: Callable[[], Awaitable[None]]) -> None:
        """If the body ends without a line break, `check_end` is called. It returns only if the body is complete."""
        self._chunks = chunks
        self._check_end = check_end
        self._left = b""  # received, and not yielded yet

    async def __aiter__(self) -> AsyncIterator[list[bytes] | AsyncIterator[bytes]]:
        while True:
            whole, end, rest = self._left.rpartition(b"\n")
            if end:
                self._left = rest
                yield _cut(whole)
            elif len(rest) > LINE_BYTES_MAX:
                yield self._pieces()
            else:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    break
                self._left += chunk
        if last := _cut(self._left):
            await self._check_end()
            yield last

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Yield the line that begins in `_left`, in pieces, up to its line break or the end of the body."""
        held = b""  # a \r may belong to the end of the line
        while True:
            line, end, rest = (held + self._left).partition(b"\n")
            held = b"\r" if line.endswith(b"\r") else b""
            yield line.removesuffix(b"\r")
            if end:
                self._left = rest
                return
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._left = b""
                await self._check_end()
                return
            self._left = chunk


def _cut(text: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in text.split(b"\n") if line and not line.isspace()]
