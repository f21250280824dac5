"""The server of a service for the edge's calls over HTTP/1.1: what it refuses, and how it stops.

test_errors.py tests its errors through the edge.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio

from insula.errors import WorkloadNotFound
from insula.rpc.http1 import REQUEST_BYTES_MAX, HttpServer
from insula.rpc.server import PortTaken, Server
from insula.rpc.statuses import ErrorInterceptor
from insula.v1.results_service_pb2_grpc import add_ResultsServiceServicer_to_server
from insula.v1.submit_service_pb2_grpc import add_SubmitServiceServicer_to_server
from tests.contract.edge import raw
from tests.contract.edge.scripted_services import ScriptedResults, ScriptedSubmit
from tests.waiting import until

MIB = 1 << 20
UPLOAD = b"/insula.v1.SubmitService/UploadWorkload"
DOWNLOAD = b"/insula.v1.ResultsService/DownloadWorkload"
BODY = raw.message_frame(b"")


def call(path: bytes, body: bytes = BODY) -> bytes:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\nte: trailers\r\n" % path
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


class Caller:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        """Send bytes and return the answer, up to its end."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        return (
            head
            if b"content-length: 0" in head
            else head + await self.reader.readuntil(b"\r\n0\r\n") + await self.end()
        )

    async def end(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection. Return whether it did so without an answer."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


class Running:
    """The server on a Unix socket, with the scripted servicers."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "http.sock"
        self.server = HttpServer(self.socket, ErrorInterceptor().wrapped)
        self.submit, self.results = ScriptedSubmit(), ScriptedResults()
        add_SubmitServiceServicer_to_server(self.submit, cast("grpc.aio.Server", self.server))
        add_ResultsServiceServicer_to_server(self.results, cast("grpc.aio.Server", self.server))

    async def connect(self, limit: int = 1 << 16) -> Caller:
        return Caller(*await asyncio.open_unix_connection(self.socket, limit=limit))


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncGenerator[Running]:
    started = Running(tmp_path)
    await started.server.start()
    yield started
    await started.server.stop(0)


async def test_a_connection_carries_one_call_after_the_other(running: Running) -> None:
    caller = await running.connect()
    for number in range(3):
        assert (await caller.ask(call(DOWNLOAD))).endswith(b"\r\n0\r\ngrpc-status: 0\r\n\r\n"), number
    assert len(running.results.downloads) == 3


async def test_an_unknown_method_is_unimplemented(running: Running) -> None:
    caller = await running.connect()
    assert b"\r\ngrpc-status: 12\r\n" in await caller.ask(call(b"/insula.v1.ApiService/DeployApi"))


async def test_a_message_that_is_malformed_is_refused(running: Running) -> None:
    caller = await running.connect()
    assert b"\r\ngrpc-status: 3\r\n" in await caller.ask(call(DOWNLOAD, raw.message_frame(b"\xff")))
    assert b"\r\ngrpc-status: 3\r\n" in await caller.ask(call(DOWNLOAD, b"")), "the call has no message"


async def test_a_call_that_is_cut_off_reaches_no_servicer(running: Running) -> None:
    """A payload that has not arrived completely must never be accepted."""
    caller, other = await running.connect(), await running.connect()
    caller.writer.write(call(UPLOAD)[:-1])
    await caller.writer.drain()
    caller.writer.close()
    await other.ask(call(UPLOAD))
    assert len(running.submit.uploads) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
        call(UPLOAD, bytes(REQUEST_BYTES_MAX)),
    ],
    ids=["HTTP/2", "TLS", "too large"],
)
async def test_bytes_that_are_no_short_call_end_the_connection(running: Running, data: bytes) -> None:
    caller = await running.connect()
    caller.writer.write(data)
    await caller.is_closed()
    assert running.submit.uploads == []


async def test_a_second_call_before_the_answer_ends_the_connection(running: Running) -> None:
    """Envoy sends one call at a time on a connection, so the server needs no queue of calls."""
    running.results.held = asyncio.Event()
    caller = await running.connect()
    caller.writer.write(call(DOWNLOAD))
    await until(lambda: len(running.results.downloads) == 1)
    caller.writer.write(call(DOWNLOAD))
    assert await caller.is_closed()


async def test_the_call_of_a_caller_that_left_is_cancelled(running: Running) -> None:
    ended = asyncio.Event()

    async def download(request: object, context: object) -> AsyncIterator[Any]:
        try:
            running.results.downloads.append(cast("Any", request))
            await asyncio.Event().wait()
            yield
        finally:
            ended.set()

    running.results.DownloadWorkload = download  # type: ignore[method-assign]
    add_ResultsServiceServicer_to_server(running.results, cast("grpc.aio.Server", running.server))
    caller = await running.connect()
    caller.writer.write(call(DOWNLOAD))
    await until(lambda: len(running.results.downloads) == 1)
    caller.writer.close()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_slow_reader_stops_the_servicer(running: Running) -> None:
    """The servicer produces the next piece only after the caller has read most of the earlier ones."""
    produced = 0

    class Pieces(list[bytes]):
        def __iter__(self) -> Any:
            nonlocal produced
            for _ in range(64):
                produced += 1
                yield bytes(MIB)

    running.results.pieces = Pieces()
    caller, other = await running.connect(), await running.connect()
    caller.writer.write(call(DOWNLOAD))
    await until(lambda: produced > 1)
    for _ in range(100):
        await other.ask(call(UPLOAD))
    assert produced < 6
    received = 0
    while data := await caller.reader.read(MIB):
        received += len(data)
        if data.endswith(b"grpc-status: 0\r\n\r\n"):
            break
    assert received > 64 * MIB


async def test_an_error_after_the_first_message_is_in_the_trailers(running: Running) -> None:
    class Pieces(list[bytes]):
        def __iter__(self) -> Any:
            yield b"1"
            yield b"2"
            raise WorkloadNotFound("echo", "1")

    running.results.pieces = Pieces()
    answer = await (await running.connect()).ask(call(DOWNLOAD))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n")
    assert b"\r\n0\r\ngrpc-status: 5\r\n" in answer


async def test_a_bug_of_a_servicer_is_internal(running: Running) -> None:
    class Pieces(list[bytes]):
        def __iter__(self) -> Any:
            raise RuntimeError("secret")

    running.results.pieces = Pieces()
    answer = await (await running.connect()).ask(call(DOWNLOAD))
    assert b"\r\ngrpc-status: 13\r\n" in answer
    assert b"secret" not in answer


async def test_a_stop_answers_calls_that_are_on_their_way(running: Running) -> None:
    """A stopping server keeps idle connections open, because a call may be on its way. It answers such a call."""
    running.results.held = asyncio.Event()
    busy, idle = await running.connect(), await running.connect()
    await idle.ask(call(UPLOAD))
    busy.writer.write(call(DOWNLOAD))
    await until(lambda: len(running.results.downloads) == 1)
    stop = asyncio.create_task(running.server.stop(30))
    await until(lambda: running.server.stopping)
    with pytest.raises(ConnectionError):
        await running.connect()
    last = await idle.ask(call(UPLOAD))
    assert b"\r\nconnection: close\r\n" in last
    assert await idle.is_closed()
    running.results.held.set()
    assert b"\r\ngrpc-status: 0\r\n" in await busy.ask(b"")
    busy.writer.close()
    async with asyncio.timeout(5):
        await stop


async def test_a_stop_ends_after_its_grace(running: Running) -> None:
    running.results.held = asyncio.Event()
    caller = await running.connect()
    caller.writer.write(call(DOWNLOAD))
    await until(lambda: len(running.results.downloads) == 1)
    await running.server.stop(0.1)
    assert await caller.is_closed()


async def test_a_stop_answers_connections_that_wait(running: Running) -> None:
    """A stopping server also answers a call on a connection that it has not accepted yet."""
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(running.socket))
        waiting.sendall(call(DOWNLOAD))
        stop = asyncio.create_task(running.server.stop(30))
        answer = await asyncio.to_thread(waiting.recv, MIB)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nconnection: close\r\n")
    await stop


async def test_an_impossible_socket_is_named(tmp_path: Path) -> None:
    """If the server cannot listen at its socket, the error names the path, as it names gRPC's address."""
    server = Server(f"unix:{tmp_path}/grpc", [], http_socket=tmp_path / "nowhere" / "http")
    with pytest.raises(PortTaken, match="nowhere/http"):
        await server.start()
    await server.stop()
