"""Decodes text files of a project, also those from Windows: UTF-8, or UTF-16 or UTF-32 with a byte order mark."""

from __future__ import annotations

import codecs
from contextlib import suppress
from typing import Final

_ENCODINGS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # starts with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(data: bytes) -> str:
    """Return the encoding that the byte order mark of a text shows; UTF-8 without a mark."""
    return next((encoding for mark, encoding in _ENCODINGS if data.startswith(mark)), "utf-8")


def decode(data: bytes) -> str:
    """Return the text without its byte order mark. Raises UnicodeDecodeError."""
    return data.decode(encoding_of(data))


def as_unix(data: bytes) -> bytes:
    """Return a text as Linux programs expect it: UTF-8 without a byte order mark, and Unix line ends.

    In a text that cannot be decoded, only the line ends are changed.
    """
    with suppress(UnicodeError):
        data = decode(data).encode()
    return data.replace(b"\r\n", b"\n")
