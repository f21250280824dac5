"""Content-Encoding: decompresses gzip payloads of JSON and text, one piece at a time.

Payloads of other types are stored unchanged.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Final

from insula.errors import EncodingInvalid, EncodingUnsupported

IDENTITY: Final = "identity"
GZIP: Final = frozenset({"gzip", "x-gzip"})
PIECE_BYTES: Final = 256 * 1024
"""Largest piece of decompressed bytes. A limit is needed, because 1 KiB of gzip can hold 1 MiB."""
SLICE_BYTES: Final = 64 * 1024
"""Bytes that zlib gets at once. Each call of zlib copies the unread input, so a larger slice costs more time."""
IN_LOOP_BYTES: Final = 128 * 1024
"""Bytes of a payload, before and after decompression together, that the event loop handles. Threads do the rest. A
payload that Redis stores is smaller. So it never waits for the threads, which an outage of S3 may keep busy."""
GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS


def is_gzip(content_type: str, content_encoding: str) -> bool:
    """Whether the payload is JSON or text in gzip. Raises EncodingUnsupported for JSON or text in another encoding."""
    media_type = content_type.partition(";")[0].strip().lower()
    if not (media_type == "application/json" or media_type.startswith("text/") or media_type.endswith("+json")):
        return False
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    applied = [coding for coding in codings if coding not in ("", IDENTITY)]
    if len(applied) > 1 or not GZIP.issuperset(applied):
        raise EncodingUnsupported(content_encoding)
    return bool(applied)


async def decompressed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Decompress the gzip in `chunks`. Yields pieces of at most PIECE_BYTES.

    Raises EncodingInvalid if the body is not gzip, is damaged, has no end, or has other bytes after the gzip.
    """
    gunzip, done_bytes = _Gunzip(), 0
    async for chunk in chunks:
        for start in range(0, len(chunk), SLICE_BYTES):
            gunzip.left = chunk[start : start + SLICE_BYTES]
            done_bytes += len(gunzip.left)
            piece_bytes = PIECE_BYTES
            while piece_bytes == PIECE_BYTES:  # there may be more
                piece = gunzip.piece() if done_bytes < IN_LOOP_BYTES else await asyncio.to_thread(gunzip.piece)
                piece_bytes = len(piece)
                done_bytes += piece_bytes
                if piece:
                    yield piece
    if not gunzip.ended:
        raise EncodingInvalid("the body ends before its gzip does; send all of it")


class _Gunzip:
    """Decompresses one gzip, or several joined ones. `left` holds received bytes that zlib has not read yet."""

    def __init__(self) -> None:
        self.left = b""
        self._one = zlib.decompressobj(GZIP_FORMAT)

    @property
    def ended(self) -> bool:
        """Whether the end of the gzip has been read."""
        return self._one.eof

    def piece(self) -> bytes:
        """Return up to PIECE_BYTES decompressed bytes. Fewer bytes mean that all of `left` was read.

        Raises EncodingInvalid if `left` is not gzip.
        """
        pieces, room_bytes = list[bytes](), PIECE_BYTES
        while room_bytes:
            if self._one.eof:
                if not self.left:
                    break
                self._one = zlib.decompressobj(GZIP_FORMAT)
            try:
                piece = self._one.decompress(self.left, room_bytes)
            except zlib.error:
                raise EncodingInvalid(
                    "the body is not gzip, but its Content-Encoding is: compress the body, or leave the header out"
                ) from None
            self.left = self._one.unused_data if self._one.eof else self._one.unconsumed_tail
            pieces.append(piece)
            room_bytes -= len(piece)
            if not self.left and not self._one.eof:
                break
        return b"".join(pieces)
