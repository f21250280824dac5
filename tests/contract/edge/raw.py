"""A client for HTTP/1.1, HTTP/2 and gRPC that sends any bytes, valid or not, and parses the answers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from hpack import Decoder, HPACKError

Headers = Sequence[tuple[bytes, bytes]]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ANSWER_S: Final = 5.0
"""The time in which an answer must come. An incomplete request may get none."""


@dataclass
class RawReply:
    """One answer. `headers` includes the trailers; names are in lower case."""

    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    reset: bool = False

    @property
    def status(self) -> int:
        """The HTTP status, 0 if there was no answer."""
        return int(self.headers.get(":status", "0"))


def connect(address: tuple[str, int], timeout_s: float = ANSWER_S) -> socket.socket:
    """Open a TCP connection whose reads time out after `timeout_s`."""
    return socket.create_connection(address, timeout_s)


def receive(connection: socket.socket) -> bytes:
    """Return the next bytes. Empty at the end, after a reset, and after a time-out."""
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def place(url: str) -> tuple[str, int]:
    """Return the host and port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def http1(address: tuple[str, int], request: bytes, timeout_s: float = ANSWER_S) -> list[RawReply]:
    """Send the bytes. Return all answers once the edge closes the connection, or sends nothing for `timeout_s`."""
    with connect(address, timeout_s) as connection:
        received = b""
        with suppress(OSError):  # the edge may close it before it has read all bytes
            connection.sendall(request)
        while data := receive(connection):
            received += data
    return list(_http1_replies(received))


def _http1_replies(received: bytes) -> Iterable[RawReply]:
    while received.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        reply = RawReply({":status": status_line.split(" ")[1]})
        for line in lines:
            name, _, value = line.partition(":")
            reply.headers[name.lower()] = value.strip()
        if reply.headers.get("transfer-encoding") == "chunked":
            reply.body, received = _chunked(received)
        else:  # a body without a length ends with the connection
            closes = reply.headers.get("connection") == "close"
            length = int(reply.headers.get("content-length", str(len(received)) if closes else "0"))
            reply.body, received = received[:length], received[length:]
        yield reply


def _chunked(received: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, rest = received.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return body, rest.removeprefix(b"\r\n")
        body, received = body + rest[:length], rest[length + 2 :]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(headers: Headers) -> bytes:
    """Return a header block of literals without indexing."""
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in headers)


def _literal(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, length = len(text) - 127, bytearray([127])
    while rest >= 128:
        length.append(rest % 128 | 128)
        rest //= 128
    return bytes([*length, rest]) + text


def grpc_headers(path: bytes, *more: tuple[bytes, bytes], te: bool = True) -> Headers:
    """Return the headers that a gRPC client sends."""
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")]
    return [*pseudo, (b"content-type", b"application/grpc"), *([(b"te", b"trailers")] if te else []), *more]


def message_frame(message: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """Return one gRPC message. `length` replaces its true length in the prefix."""
    return struct.pack(">BI", flag, len(message) if length is None else length) + message


class Http2:
    """An HTTP/2 connection. The caller builds the frames of its streams."""

    def __init__(self, address: tuple[str, int], timeout_s: float = ANSWER_S) -> None:
        self._socket = connect(address, timeout_s)
        self._decoder = Decoder()
        self._received = b""
        self.replies: dict[int, RawReply] = {}
        self.ended: set[int] = set()
        self.gone = False
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes. Does nothing if the edge has closed the connection, except to set `gone`."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.gone = True

    def read_until_ended(self, streams: Iterable[int]) -> None:
        """Read until each of the streams or the connection has ended."""
        wanted = set(streams)
        while not wanted <= self.ended and not self.gone:
            self.read()

    def read(self) -> None:
        """Read once and parse the frames. Acknowledge SETTINGS and PING."""
        data = receive(self._socket)
        self.gone = self.gone or not data
        self._received += data
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            payload, self._received = self._received[9 : 9 + length], self._received[9 + length :]
            self._take(kind, flags, stream & 0x7FFFFFFF, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        reply = self.replies.setdefault(stream, RawReply())
        if kind == HEADERS:  # Envoy sends them without padding, continuation or priority
            try:
                decoded = self._decoder.decode(payload, raw=True)
            except HPACKError:
                raise AssertionError(f"the edge sent a header block that cannot be read: {payload!r}") from None
            reply.headers |= {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in decoded}
        elif kind == DATA:
            reply.body += payload
        elif kind == RST_STREAM:
            reply.reset = True
            self.ended.add(stream)
        elif kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.gone = True
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)
