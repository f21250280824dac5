"""Serves the methods of a gRPC server over HTTP/1.1. A call needs less CPU time than with gRPC's library.

Envoy turns an HTTP request into a gRPC call, and sends it as POST /{service}/{method} with gRPC's messages as the body.
gRPC's status is in the trailers, or in the headers of an answer without messages. The servicers, the errors and their
statuses are those of the gRPC server. Only Envoy connects. It sends a call after it has received all of the call. A
connection has one call at a time, and Envoy closes it after an idle second.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote

import grpc
from grpc import StatusCode
from httptools import HttpParserError, HttpRequestParser

log = logging.getLogger(__name__)

REQUEST_BYTES_MAX: Final = 256 * 1024
"""Largest call, with its headers. The edge sends calls of at most 32 KiB with 60 KiB of headers. A connection with a
larger call is closed."""
BACKLOG: Final = 1024
"""Most connections that wait to be accepted. The edge may open this many at once."""
PREFIX_BYTES: Final = 5
"""Length of the prefix of a gRPC message: one byte for its compression, always 0, and four for its length."""
_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n"
_CLOSE: Final = b"connection: close\r\n"
_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
Metadata = Sequence[tuple[str, str | bytes]]


class HttpServer:
    """Serves gRPC servicers on a Unix socket. The generated functions add_..._to_server accept it as a server."""

    def __init__(self, path: Path, wrapped: Callable[[Any], Any]) -> None:
        """`wrapped` returns the handler to use in place of a method's handler, as ErrorInterceptor.wrapped does."""
        self.path: Final = path
        self.handlers: Final[dict[bytes, Any]] = {}
        self.stopping = False
        self._wrapped = wrapped
        self._connections: Final[set[_Connection]] = set()
        self._changed: Final = asyncio.Event()
        self._server: asyncio.Server | None = None

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the methods of a servicer. Called by the generated functions."""
        self.handlers.update({f"/{service}/{name}".encode(): self._wrapped(each) for name, each in handlers.items()})

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing. The generated functions also call `add_registered_method_handlers`, with the same methods."""

    async def start(self) -> None:
        """Start listening. Raises OSError if the socket cannot be created."""
        connection = partial(_Connection, self)
        self._server = await asyncio.get_running_loop().create_unix_server(connection, self.path, backlog=BACKLOG)

    async def stop(self, grace_s: float) -> None:
        """Stop accepting connections, and wait up to `grace_s` until the edge has closed the open ones. Abort the rest.

        The edge may have sent a call on a connection that looks idle here. Such a call is answered, with the header
        `Connection: close`.
        """
        self.stopping = True
        server, self._server = self._server, None
        if server is not None:
            await self._refuse_connections(server)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._connections:
                    self._changed.clear()
                    await self._changed.wait()
        for connection in [*self._connections]:
            connection.abort()

    async def _refuse_connections(self, server: asyncio.Server) -> None:
        """Refuse new connections. Accept those that the kernel has queued: the edge may have sent calls on them."""
        [listening] = server.sockets
        with socket.socket(fileno=os.dup(listening.fileno())) as waiting:
            waiting.setblocking(False)
            waiting.shutdown(socket.SHUT_RD)
            server.close()
            with suppress(BlockingIOError):
                while True:
                    accepted, _ = waiting.accept()
                    await asyncio.get_running_loop().connect_accepted_socket(partial(_Connection, self), accepted)

    def opened(self, connection: _Connection) -> None:
        """Remember a connection, so that `stop` can wait for its end, or close it."""
        self._connections.add(connection)

    def closed(self, connection: _Connection) -> None:
        """Remove a connection that has ended."""
        self._connections.discard(connection)
        self._changed.set()


class _Connection(asyncio.Protocol):
    """One connection of the edge. The parser calls the methods on_*."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = HttpRequestParser(self)
        self._transport: Any = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._call: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._path, self._body, self._received_bytes = b"", b"", 0
        self._metadata = list[tuple[str, str | bytes]]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.closed(self)
        if self._call is not None:
            self._call.cancel()

    def abort(self) -> None:
        """Close the connection at once, and cancel its call."""
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._call is not None:
            self._refuse("the call before has no answer yet")
        elif self._received_bytes > REQUEST_BYTES_MAX:
            self._refuse(f"the call is larger than {REQUEST_BYTES_MAX} bytes")
        else:
            try:
                self._parser.feed_data(data)
            except HttpParserError as error:
                self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        """Log the reason and close the connection. Envoy never sends what leads here."""
        log.warning(
            "closed a connection because of an invalid request, which Envoy never sends", extra={"reason": reason}
        )
        self.abort()

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._metadata.append((name.decode("latin-1"), _text(value)))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        answer = self._answer(self._server.handlers.get(self._path), self._body, _Context(self._metadata))
        self._call = asyncio.get_running_loop().create_task(answer)
        self._begin()

    async def _answer(self, handler: Any, body: bytes, context: _Context) -> None:
        """Call the method, and write its messages.

        A message is held back until the next one exists, so that the last one and the trailers are one write.
        """
        closes = _CLOSE if self._server.stopping else b""
        unwritten, trailers = b"", b"grpc-status: 0\r\n"
        try:
            async for message in _messages(handler, body, context):
                if unwritten:
                    self._write(unwritten)
                    await self._writable.wait()
                    unwritten = _chunk(message)
                else:
                    unwritten = b"%b%btransfer-encoding: chunked\r\n\r\n%b" % (_OK, closes, _chunk(message))
        except _Aborted as aborted:
            trailers = _status_lines(aborted)
        except BaseException:  # cancelled: the connection is lost
            self.abort()
            raise
        self._call = None
        if unwritten:
            self._write(b"%b0\r\n%b\r\n" % (unwritten, trailers))
        else:
            self._write(b"%b%bcontent-length: 0\r\n%b\r\n" % (_OK, closes, trailers))
        if closes:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        """Write `data`, unless the edge has closed the connection: uvloop would raise an error."""
        if not self._transport.is_closing():
            self._transport.write(data)


class _Aborted(grpc.aio.AbortError):
    """Ends a call with an error status."""

    def __init__(self, code: StatusCode, details: str, trailers: Metadata) -> None:
        super().__init__(details)
        self.code, self.details, self.trailers = code, details, trailers


class _Context:
    """The part of grpc.aio.ServicerContext that the servicers and the interceptor use."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Do nothing: the headers are sent with the first message."""

    async def abort(self, code: StatusCode, details: str, trailing_metadata: Metadata = ()) -> NoReturn:
        raise _Aborted(code, details, trailing_metadata)


async def _messages(handler: Any, body: bytes, context: _Context) -> AsyncIterator[bytes]:
    """Call the method, and yield its messages as bytes."""
    if handler is None:
        await context.abort(StatusCode.UNIMPLEMENTED, "Method not found!")
    elif handler.response_streaming:
        async for message in handler.stream_stream(_split(body), context):
            yield handler.response_serializer(message)
    else:
        yield handler.response_serializer(await handler.stream_unary(_split(body), context))


async def _split(body: bytes) -> AsyncIterator[bytes]:
    """Yield the messages in the body of a request, without their prefixes."""
    at = 0
    while at < len(body):
        end = at + PREFIX_BYTES + int.from_bytes(body[at + 1 : at + PREFIX_BYTES])
        yield body[at + PREFIX_BYTES : end]
        at = end


def _chunk(message: bytes) -> bytes:
    """Return a message with its prefix, as one chunk of HTTP/1.1."""
    return b"%x\r\n\0%b%b\r\n" % (len(message) + PREFIX_BYTES, len(message).to_bytes(4), message)


def _status_lines(aborted: _Aborted) -> bytes:
    """Return an error as header lines. As in gRPC, the text is escaped, and bytes of -bin headers are in base64."""
    lines = [("grpc-status", str(aborted.code.value[0])), ("grpc-message", quote(aborted.details, safe=_PRINTABLE))]
    for name, value in aborted.trailers:
        lines.append((name, base64.b64encode(value).decode() if isinstance(value, bytes) else value))
    return "".join(f"{name}: {value}\r\n" for name, value in lines).encode()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
