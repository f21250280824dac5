"""The types of payloads, and the Content-Type of each.

    dict, list, tuple              application/json
    str                            text/plain; charset=utf-8
    bytes, file, iterable of bytes application/octet-stream

A `content_type` from the caller replaces these. A str is then encoded in the charset that `content_type` names. Without
a charset, it is encoded in UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Final, Protocol, TypeAlias, cast, runtime_checkable

from insula.client.integers import with_any_integers
from insula.errors import InvalidArgument

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
# A payload up to this size is one message, a larger one is a stream with pieces of this size.
CHUNK_BYTES: Final = 2**20


@runtime_checkable
class Readable(Protocol):
    """A file opened in binary mode, or any object with the same `read`."""

    def read(self, size: int, /) -> bytes: ...


Payload: TypeAlias = Mapping[str, object] | Sequence[object] | str | bytes | Readable | Iterable[bytes]
AsyncPayload: TypeAlias = Payload | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A payload to send: whole in `body`, or in pieces of any size from `source`."""

    content_type: str
    body: bytes | None
    source: Readable | Iterable[bytes] | AsyncIterable[bytes]

    @property
    def fits_one_message(self) -> bool:
        """Whether the payload is sent in one message. This needs a payload in memory of at most CHUNK_BYTES."""
        return self.body is not None and len(self.body) <= CHUNK_BYTES


def prepare(payload: AsyncPayload, content_type: str | None) -> Outgoing:
    """Return `payload` encoded for its Content-Type. Raises InvalidArgument if it cannot be submitted."""
    match payload:
        case dict() | list() | tuple():
            return _whole(_json_bytes(cast("object", payload)), content_type or JSON)
        case str():
            return _whole(_text_bytes(payload, content_type), content_type or TEXT)
        case bytes() | bytearray() | memoryview():
            return _whole(bytes(payload), content_type or BYTES)
        case Readable() | Iterable() | AsyncIterable():
            source = cast("Readable | Iterable[bytes] | AsyncIterable[bytes]", payload)
            return Outgoing(content_type or BYTES, None, source)
        case _:
            kinds = "a dict, list, str, bytes, a binary file or an iterable of bytes"
            raise InvalidArgument(f"payload: must be {kinds}, not {type(payload).__name__}")


def _whole(body: bytes, content_type: str) -> Outgoing:
    return Outgoing(content_type, body, (body,))


def _json_bytes(value: object) -> bytes:
    try:
        return with_any_integers(partial(_encode, value)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"payload: cannot be written as JSON: {error}") from None


def _text_bytes(text: str, content_type: str | None) -> bytes:
    header = Message()
    header["content-type"] = content_type or TEXT
    charset = header.get_content_charset("utf-8")
    try:
        return text.encode(charset)
    except (LookupError, ValueError) as error:
        raise InvalidArgument(f"payload: cannot be written as {charset}: {error}") from None


def pieces(source: Readable | Iterable[bytes] | AsyncIterable[bytes]) -> Iterator[bytes]:
    """Yield the content of `source` in pieces of at most CHUNK_BYTES.

    Raises InvalidArgument if `source` is asynchronous, or yields something other than bytes.
    """
    if isinstance(source, Readable):
        while chunk := checked_piece(source.read(CHUNK_BYTES)):
            yield from _split(chunk)
    elif isinstance(source, Iterable):
        for chunk in source:
            yield from _split(checked_piece(chunk))
    else:
        raise InvalidArgument("payload: an asynchronous iterable needs AsyncClient")


async def async_pieces(source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the content of `source` in pieces of at most CHUNK_BYTES.

    Raises InvalidArgument if `source` yields something other than bytes.
    """
    async for chunk in source:
        for piece in _split(checked_piece(chunk)):
            yield piece


def checked_piece(chunk: object) -> bytes:
    """Return `chunk` as bytes. Raises InvalidArgument for another type, such as the text of a file in text mode."""
    if not isinstance(chunk, bytes | bytearray | memoryview):
        raise InvalidArgument(f'payload: must yield bytes, not {type(chunk).__name__}; open files with mode "rb"')
    return bytes(cast("bytes", chunk))


def _split(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), CHUNK_BYTES):
        yield chunk[start : start + CHUNK_BYTES]
