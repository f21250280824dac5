"""Decodes the text files of a project, those written on Windows too: UTF-8, or UTF-16 and UTF-32 with their mark."""

from __future__ import annotations

import codecs
from contextlib import suppress
from typing import Final

_ENCODINGS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(data: bytes) -> str:
    """Return the encoding that the byte order mark of a text names; UTF-8 without one."""
    return next((encoding for mark, encoding in _ENCODINGS if data.startswith(mark)), "utf-8")


def decode(data: bytes) -> str:
    """Return the text without its byte order mark. Raises UnicodeDecodeError."""
    return data.decode(encoding_of(data))


def as_unix(data: bytes) -> bytes:
    """Return a text as a program on Linux reads it: UTF-8 without a mark, lines ended by a newline alone.

    What cannot be decoded keeps its bytes, but for the ends of its lines.
    """
    with suppress(UnicodeError):
        data = decode(data).encode()
    return data.replace(b"\r\n", b"\n")
