"""Content-Encoding: which encodings of a payload are undone here, and how, without holding more than a piece of it.

The payload of a workload is what its handler decodes, JSON or text, so a gzip of those is decompressed before it is
stored. What handlers get as bytes is stored as it came.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from insula.errors import EncodingInvalid, EncodingUnsupported

DECODED_TYPES: Final = frozenset({"application/json", "text/plain"})
"""The media types that reach a handler decoded; every other one is bytes to it."""
IDENTITY: Final = "identity"
GZIP: Final = frozenset({"gzip", "x-gzip"})
PIECE_BYTES: Final = 256 * 1024
"""What is decompressed at once, at most. 1 KiB of gzip can hold 1 MiB."""
SLICE_BYTES: Final = 64 * 1024
"""What is handed to zlib at once: it copies what it has not read yet at each step."""
IN_LOOP_BYTES: Final = 4 * 1024
"""A larger slice is decompressed in a thread."""
GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS


def is_gzip(content_type: str, content_encoding: str) -> bool:
    """Whether the payload has to be decompressed. Raises EncodingUnsupported if it would have to be, and cannot be."""
    if content_type.partition(";")[0].strip().lower() not in DECODED_TYPES:
        return False
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    applied = [coding for coding in codings if coding not in ("", IDENTITY)]
    if len(applied) > 1 or not GZIP.issuperset(applied):
        raise EncodingUnsupported(content_encoding)
    return bool(applied)


async def decompressed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what the gzip in `chunks` holds, in pieces of at most PIECE_BYTES.

    Raises EncodingInvalid if it is no gzip, is damaged, has no end, or goes on with anything but gzip after its end.
    """
    member = zlib.decompressobj(GZIP_FORMAT)
    async for chunk in chunks:
        for start in range(0, len(chunk), SLICE_BYTES):
            left = chunk[start : start + SLICE_BYTES]
            while left:
                if member.eof:  # gzip files may be joined
                    member = zlib.decompressobj(GZIP_FORMAT)
                piece = await _step(member.decompress, left)
                left = member.unused_data if member.eof else member.unconsumed_tail
                if piece:
                    yield piece
    while not member.eof and (piece := await _step(member.decompress, b"")):  # what zlib had read, and had no room for
        yield piece
    if not member.eof:
        raise EncodingInvalid("the body ends before its gzip does; send all of it")


async def _step(decompress: Callable[[bytes, int], bytes], data: bytes) -> bytes:
    try:
        if len(data) <= IN_LOOP_BYTES:
            return decompress(data, PIECE_BYTES)
        return await asyncio.to_thread(decompress, data, PIECE_BYTES)
    except zlib.error:
        raise EncodingInvalid(
            "the body is not the gzip that its Content-Encoding says: compress it, or leave the header out"
        ) from None
