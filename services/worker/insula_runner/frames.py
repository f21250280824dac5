"""The wire format between the supervisor and a runner: length-prefixed frames over two inherited socket pairs.

This module encodes frames and checks their sizes. It uses no socket and does not interpret a frame. One frame is

    header length (4 bytes, big endian) | body length (4 bytes) | header (ASCII JSON with "type") | body (raw bytes)

    supervisor -> runner                                     runner -> supervisor
    start   body: JSON of how to load the handler            ready
                                                             refused    body: JSON {message, traceback}
    job     job, id, trace_id, content_type,                 result     job, handler_s; body: the result's JSON bytes
            direct_hosts (optional); body: payload           failure    job, handler_s, reason; body: as refused
                                                             metric     kind, name, value, tags

All jobs use one socket pair, the job queue. Each job is one message. If its payload came from S3, the message carries
the descriptor of a file with the payload. All other frames are written to a stream, over the second socket pair. Jobs
begin in the order in which they were written; an answer names its job by number. The format is JSON and not pickle,
because user code controls one side.

The output of user code does not use the socket but two pipes. The marks in that output are defined here as well.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, NamedTuple, Union, cast

HEADER_BYTES_MAX = 1 << 20
RESULT_BYTES_MAX = 64 << 20
BODY_BYTES_MAX = RESULT_BYTES_MAX
JOB_BYTES_MAX = 128 << 10  # one message of the job queue
RECEIVE_BYTES = 256 << 10  # read from the socket at once

MARK_START = "\0"
MARK_BYTES_MAX = 512

_PREFIX = struct.Struct("!II")
_encode_header = json.JSONEncoder(separators=(",", ":")).encode
_decode_header = json.JSONDecoder().raw_decode

Header = Dict[str, Any]
Buffer = Union[bytes, bytearray, memoryview]


def encode_mark(token: str, id: str, trace_id: str) -> bytes:
    """Return a mark: a line that assigns the output after it to the workload `id`. An empty `id` means no workload.

    `token` is random, so no printed line is mistaken for a mark.
    """
    return f"{MARK_START}{token} {id} {trace_id}\n".encode()


class FrameInvalid(ValueError):
    """The bytes are not a frame, or the frame is too large. The connection cannot be used any more."""


class Frame(NamedTuple):
    """One message. `header["type"]` is always a string. Everything else in the header is unchecked."""

    header: Header
    body: bytes

    @property
    def type(self) -> str:
        kind: str = self.header["type"]
        return kind


def encode_frame(header: Header, body: Buffer = b"") -> bytes:
    """Return the frame's bytes. Raises FrameInvalid if the header or the body is too large."""
    encoded = _encode_header(header).encode("ascii")
    check_bounds(len(encoded), len(body))
    return b"".join((_PREFIX.pack(len(encoded), len(body)), encoded, body))


def check_bounds(header_bytes: int, body_bytes: int) -> None:
    """Raise FrameInvalid if a frame of this size may not be sent or received."""
    if header_bytes > HEADER_BYTES_MAX:
        raise FrameInvalid(f"a frame header of {header_bytes} bytes is over the limit of {HEADER_BYTES_MAX}")
    if body_bytes > BODY_BYTES_MAX:
        raise FrameInvalid(f"a frame body of {body_bytes} bytes is over the limit of {BODY_BYTES_MAX}")


def decode_header(encoded: bytes) -> Header:
    """Parse a header. Raises FrameInvalid unless it is a JSON object with a string under "type"."""
    try:
        header, end = _decode_header(encoded.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise FrameInvalid(f"a frame header is not JSON: {error}") from error
    if end == len(encoded) and isinstance(header, dict):
        named = cast("Header", header)
        if isinstance(named.get("type"), str):
            return named
    raise FrameInvalid('a frame header is not an object with a "type"')


def decode_frame(message: bytes) -> Frame:
    """Return the frame that the message consists of. Raises FrameInvalid."""
    if len(message) >= _PREFIX.size:
        header_bytes, body_bytes = _PREFIX.unpack_from(message)
        body_start = _PREFIX.size + header_bytes
        if len(message) == body_start + body_bytes:
            check_bounds(header_bytes, body_bytes)
            return Frame(decode_header(message[_PREFIX.size : body_start]), message[body_start:])
    raise FrameInvalid(f"a message of {len(message)} bytes is not one frame")


class FrameBuffer:
    """Cuts a byte stream into frames. Holds at most one incomplete frame between two calls of `feed`."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: Buffer) -> List[Frame]:
        """Add the next bytes of the stream. Return the frames that are complete now, in order.

        Raises FrameInvalid if the bytes are not frames. The stream is lost then: close it.
        """
        pending = self._pending
        pending += data
        frames: List[Frame] = []
        start, available = 0, len(pending)
        with memoryview(pending) as view:
            while available - start >= _PREFIX.size:
                header_bytes, body_bytes = _PREFIX.unpack_from(pending, start)
                check_bounds(header_bytes, body_bytes)
                body_start = start + _PREFIX.size + header_bytes
                end = body_start + body_bytes
                if end > available:
                    break
                header = decode_header(bytes(view[start + _PREFIX.size : body_start]))
                frames.append(Frame(header, bytes(view[body_start:end])))
                start = end
        del pending[:start]
        return frames
