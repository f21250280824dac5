"""One caller cannot block the others. A test attacks a whole stack, while another client sends normal requests."""

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
"""The time in which the other client must get an answer."""
LATE_MAX = 1
"""How many of a listener's answers, of more than 50, may come later than ANSWER_S.

A submit is answered after a write to disk. The disk may be slow at times, also without an attack.
"""
BUSY_S = 15.0
"""The time in which a late answer must come."""
GROWTH_MB_MAX = 20
"""How much more memory Envoy may have than before the first attack, after each attack of this file."""
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
    """Return the stack after some ordinary requests. The memory that these take does not count as the attack's."""
    with ThreadPoolExecutor(32) as ordinary:
        for _ in range(500):
            ordinary.submit(OtherClient.of(stack).ask)
    return stack


@pytest.fixture(scope="module")
def rested_mb(used: Stack) -> float:
    """Return Envoy's memory before the first attack."""
    return taken_mb(used)


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Allow this process, the attacker, as many open files as possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class OtherClient:
    """A client that submits on both listeners and records the duration of each answer.

    Each submit has a new connection.
    """

    requests: Mapping[str, tuple[tuple[str, int], bytes]]
    answers_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    refused: list[str] = field(default_factory=list[str])

    @staticmethod
    def of(stack: Stack) -> OtherClient:
        rest = b"Content-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
        public = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + rest
        internal = b"POST / HTTP/1.1\r\nHost: api-echo:8888\r\n" + rest
        return OtherClient(
            {"public": (raw.place(stack.public), public), "in-cluster": (raw.place(stack.internal), internal)}
        )

    def ask(self) -> None:
        for listener, (address, request) in self.requests.items():
            started = time.monotonic()
            statuses = [reply.status for reply in raw.http1(address, request, 30)]
            self.answers_s.setdefault(listener, []).append(time.monotonic() - started)
            if statuses not in ([200], [429]):  # 429: the queue is full
                self.refused.append(f"{listener}: {statuses}")

    @contextmanager
    def asking(self) -> Generator[None]:
        """Submit without a pause until the block ends. Then check that each answer came in time."""
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
    """Return Envoy's anonymous memory, that is without the pages of its program."""
    return memory_mb(stack.processes("envoy")[0], "RssAnon")


def await_memory(stack: Stack, rested_mb: float) -> None:
    """Wait until Envoy has freed the memory of the attack. Other clients send requests meanwhile."""

    def given_back() -> bool:
        OtherClient.of(stack).ask()
        return taken_mb(stack) - rested_mb < GROWTH_MB_MAX

    until_blocking(given_back)


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "open"])
@pytest.mark.parametrize("method", METHODS, ids=[method.decode().rpartition("/")[2] for method in METHODS])
async def test_calls_without_a_message_do_not_block_other_clients(
    stack: Stack, rested_mb: float, method: bytes, ended: bool
) -> None:
    """11 connections make 999 calls each, more than the limit per connection. Then all connections close at once.

    The next test respects the limit.
    """
    flags = raw.END_HEADERS | (raw.END_STREAM if ended else 0)
    block = raw.block(raw.grpc_headers(method))
    calls = b"".join(raw.frame(raw.HEADERS, flags, 1 + 2 * number, block) for number in range(CALLS))
    other = OtherClient.of(stack)
    with other.asking():
        attackers = [raw.Http2(raw.place(stack.public)) for _ in range(CONNECTIONS)]
        for attacker in attackers:
            attacker.send(calls)
        until_blocking(lambda: len(other.answers_s.get("in-cluster", [])) > 50)
        for attacker in attackers:
            attacker.close()
        asked = len(other.answers_s["in-cluster"])
        until_blocking(lambda: len(other.answers_s["in-cluster"]) > asked + 10)
    await_memory(stack, rested_mb)


async def test_a_call_without_a_message_is_answered(stack: Stack) -> None:
    """If the client has ended its side of the call, the answer comes at once, otherwise after 10 s.

    The test makes 100 calls on one connection, as many as are allowed, and each gets an answer.
    """
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


async def test_idle_connections_do_not_block_other_clients(stack: Stack, rested_mb: float) -> None:
    """The public port has 10,000 idle connections; its limit is higher. Envoy frees their memory when they close."""
    other = OtherClient.of(stack)
    with other.asking():
        until_blocking(lambda: len(other.answers_s.get("in-cluster", [])) > 10)
        idle = [socket.create_connection(raw.place(stack.public), 30) for _ in range(IDLE)]
        asked = len(other.answers_s["in-cluster"])
        until_blocking(lambda: len(other.answers_s["in-cluster"]) > asked + 50)
    for connection in idle:
        connection.close()
    await_memory(stack, rested_mb)


async def test_a_full_listener_does_not_affect_the_other(stack: Stack) -> None:
    """The inner listener is full. It has its own limit of connections, so the public listener still answers."""
    connections = [socket.create_connection(raw.place(stack.internal), 30) for _ in range(4_200)]
    try:
        address, request = OtherClient.of(stack).requests["public"]
        assert [reply.status for reply in raw.http1(address, request)] in ([200], [429])
        assert sum(raw.receive(connection) == b"" for connection in connections[-100:]) == 100
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("size_bytes", [5 * MIB, (1 << 31) - 1], ids=["5 MiB", "2 GiB"])
async def test_a_message_over_4_mib_is_refused_before_it_is_read(stack: Stack, size_bytes: int) -> None:
    """The error names the limit, and UploadWorkload for larger payloads. submit's memory hardly grows."""
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


async def test_a_grpc_client_that_sends_too_large_a_message_gets_payload_too_large(stack: Stack) -> None:
    """The error's ErrorInfo has the reason, for messages just over the limit and far over it."""
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
