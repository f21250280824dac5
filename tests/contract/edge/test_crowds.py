"""One caller cannot lock out the others: a whole stack, an attack from this machine, and another client beside it."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from tests.contract.edge import raw
from tests.processes import memory_mb
from tests.stack import Stack
from tests.waiting import until_blocking

MIB = 1 << 20
ANSWER_S = 2.0
"""What another client waits for an answer."""
LATE_MAX = 1
"""How many of the more than 50 answers of a listener may come later: the disk that a workload is written to before its
submit is answered stands still at times, with or without an attack."""
BUSY_S = 15.0
"""What it waits for such an answer."""
GROWTH_MB_MAX = 20
"""What Envoy may keep of the memory that an attack took, and of what all attacks of this file took in a row."""
SUBMIT_GROWTH_MB_MAX = 16
CONNECTIONS, CALLS = 11, 999
IDLE = 10_000
METHODS = (
    b"/insula.v1.SubmitService/SubmitWorkload",
    b"/insula.v1.SubmitService/UploadWorkload",
    b"/insula.v1.ResultsService/GetWorkload",
    b"/insula.v1.ResultsService/WatchWorkload",
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("idle", "used")]


@pytest.fixture(scope="module")
def used(stack: Stack) -> Stack:
    """The stack after ordinary use: what that takes for the first time is not what an attack takes."""
    with ThreadPoolExecutor(32) as ordinary:
        for _ in range(500):
            ordinary.submit(Neighbour.of(stack).ask)
    return stack


@pytest.fixture(scope="module")
def rested_mb(used: Stack) -> float:
    """The edge's memory before the first attack."""
    return taken_mb(used)


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The attacker is this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Neighbour:
    """A client that submits on both listeners, each time by a new connection, and notes how long an answer took."""

    requests: Mapping[str, tuple[tuple[str, int], bytes]]
    answers_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    refused: list[str] = field(default_factory=list[str])

    @staticmethod
    def of(stack: Stack) -> Neighbour:
        rest = b"Content-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
        public = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + rest
        internal = b"POST / HTTP/1.1\r\nHost: api-echo:8888\r\n" + rest
        return Neighbour(
            {"public": (raw.place(stack.public), public), "in-cluster": (raw.place(stack.internal), internal)}
        )

    def ask(self) -> None:
        for listener, (address, request) in self.requests.items():
            started = time.monotonic()
            statuses = [reply.status for reply in raw.http1(address, request, 30)]
            self.answers_s.setdefault(listener, []).append(time.monotonic() - started)
            if statuses not in ([200], [429]):  # a full queue is an answer
                self.refused.append(f"{listener}: {statuses}")

    @contextmanager
    def asking(self) -> Generator[None]:
        """Ask without a pause until the block ends, which has to see every answer come in time."""
        done = threading.Event()

        def ask_on() -> None:
            while not done.is_set():
                self.ask()

        thread = threading.Thread(target=ask_on)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert self.refused == []
        for listener, times in self.answers_s.items():
            assert sum(time > ANSWER_S for time in times) <= LATE_MAX, f"{listener}: {times}"
            assert max(times) < BUSY_S, f"{listener}: {times}"


def taken_mb(stack: Stack) -> float:
    """What the edge holds of the machine's memory, without the pages of its program."""
    return memory_mb(stack.processes("envoy")[0], "RssAnon")


def await_memory(stack: Stack, rested_mb: float) -> None:
    """Return once the edge has given back what it took, while others go on calling."""

    def given_back() -> bool:
        Neighbour.of(stack).ask()
        return taken_mb(stack) - rested_mb < GROWTH_MB_MAX

    until_blocking(given_back)


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "open"])
@pytest.mark.parametrize("method", METHODS, ids=[method.decode().rpartition("/")[2] for method in METHODS])
async def test_calls_without_a_message_lock_nobody_out(
    stack: Stack, rested_mb: float, method: bytes, ended: bool
) -> None:
    """11 connections with 999 calls each, whose clients respect no limit, and leave all at once.

    A client that respects the limit is the next test's.
    """
    flags = raw.END_HEADERS | (raw.END_STREAM if ended else 0)
    block = raw.block(raw.grpc_headers(method))
    calls = b"".join(raw.frame(raw.HEADERS, flags, 1 + 2 * number, block) for number in range(CALLS))
    neighbour = Neighbour.of(stack)
    with neighbour.asking():
        attackers = [raw.Http2(raw.place(stack.public)) for _ in range(CONNECTIONS)]
        for attacker in attackers:
            attacker.send(calls)
        until_blocking(lambda: len(neighbour.answers_s.get("in-cluster", [])) > 50)
        for attacker in attackers:
            attacker.close()
        asked = len(neighbour.answers_s["in-cluster"])
        until_blocking(lambda: len(neighbour.answers_s["in-cluster"]) > asked + 10)
    await_memory(stack, rested_mb)


async def test_a_call_without_a_message_is_answered(stack: Stack) -> None:
    """At once if it has ended, after 10 s if not; as many calls as a connection may have, all of them."""
    calls = 100
    for ended, within_s in ((True, 5.0), (False, 20.0)):
        flags = raw.END_HEADERS | (raw.END_STREAM if ended else 0)
        with raw.Http2(raw.place(stack.public), 30) as connection:
            connection.read()
            block = raw.block(raw.grpc_headers(METHODS[0]))
            streams = range(1, 2 * calls, 2)
            started = time.monotonic()
            connection.send(b"".join(raw.frame(raw.HEADERS, flags, stream, block) for stream in streams))
            connection.read_until_ended(streams)
            assert time.monotonic() - started < within_s
            statuses = {connection.replies[stream].headers["grpc-status"] for stream in streams}
        assert statuses == {str(grpc.StatusCode.INVALID_ARGUMENT.value[0])}


async def test_idle_connections_lock_nobody_out(stack: Stack, rested_mb: float) -> None:
    """10,000 of them on the public port, which has room for more; what they took is given back."""
    neighbour = Neighbour.of(stack)
    with neighbour.asking():
        until_blocking(lambda: len(neighbour.answers_s.get("in-cluster", [])) > 10)
        idle = [socket.create_connection(raw.place(stack.public), 30) for _ in range(IDLE)]
        asked = len(neighbour.answers_s["in-cluster"])
        until_blocking(lambda: len(neighbour.answers_s["in-cluster"]) > asked + 50)
    for connection in idle:
        connection.close()
    await_memory(stack, rested_mb)


async def test_a_full_listener_leaves_the_other_alone(stack: Stack) -> None:
    """The in-cluster listener has its own limit, below that of the machine."""
    connections = [socket.create_connection(raw.place(stack.internal), 30) for _ in range(4_200)]
    try:
        address, request = Neighbour.of(stack).requests["public"]
        assert [reply.status for reply in raw.http1(address, request)] in ([200], [429])
        assert sum(raw.receive(connection) == b"" for connection in connections[-100:]) == 100
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("size_bytes", [5 * MIB, (1 << 31) - 1], ids=["5 MiB", "2 GiB"])
async def test_a_message_over_4_mib_is_refused_before_it_is_read(stack: Stack, size_bytes: int) -> None:
    """PAYLOAD_TOO_LARGE, with the limit and the call that takes more; submit hardly grows."""
    submit = stack.processes("submit")[0]
    before_mb = memory_mb(submit)
    Path(f"/proc/{submit}/clear_refs").write_text("5", encoding="ascii")
    with raw.Http2(raw.place(stack.public)) as connection:
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.block(raw.grpc_headers(METHODS[0]))))
        connection.send(raw.frame(raw.DATA, 0, 1, raw.message_frame(bytes(16_000), length=size_bytes)))
        connection.read_until_ended([1])
    answer = connection.replies[1].headers
    assert answer["grpc-status"] == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
    assert "4194304 bytes" in answer["grpc-message"]
    assert "UploadWorkload" in answer["grpc-message"]
    assert memory_mb(submit, "VmHWM") - before_mb < SUBMIT_GROWTH_MB_MAX


async def test_a_client_that_sends_too_large_a_message_learns_the_limit(stack: Stack) -> None:
    """As a gRPC client sees it: the reason is in ErrorInfo, for a message over the limit and for one that just fits."""
    host, port = raw.place(stack.public)
    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        for size_bytes in (4 * MIB + 1, 5 * MIB, 40 * MIB):
            request = SubmitWorkloadRequest(api="echo", content_type="a/b", payload=bytes(size_bytes))
            call = SubmitServiceStub(channel).SubmitWorkload.future(request, timeout=30)
            assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "UploadWorkload" in (call.details() or "")
            details = dict(call.trailing_metadata() or ())["grpc-status-details-bin"]
            assert isinstance(details, bytes)
            assert b"PAYLOAD_TOO_LARGE" in details
