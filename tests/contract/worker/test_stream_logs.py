"""StreamLogs over real gRPC: the latest lines, new lines, and the notice to a slow reader."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from insula.v1.worker_service_pb2 import StreamLogsRequest
from insula.v1.worker_service_pb2_grpc import WorkerServiceStub, add_WorkerServiceServicer_to_server
from insula_worker.logs.ring import LINES_MAX, LogRing
from insula_worker.worker import Worker
from insula_worker.worker_servicer import WorkerServicer

if TYPE_CHECKING:
    from insula.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub


@pytest.fixture
def ring() -> LogRing:
    return LogRing()


@pytest.fixture
async def stub(ring: LogRing) -> AsyncIterator[WorkerServiceAsyncStub]:
    server = grpc.aio.server()
    add_WorkerServiceServicer_to_server(WorkerServicer(cast(Worker, None), ring), server)  # no worker: only its log
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield WorkerServiceStub(channel)
    await server.stop(0)


def fill(ring: LogRing, first: int, end: int) -> None:
    for number in range(first, end):
        ring.append(f"workload {number % 3}", json.dumps({"message": number}).encode())


async def read(call: Any) -> list[dict[str, Any]]:
    return [json.loads(answer.line) async for answer in call]


async def test_what_there_is_comes_at_once_and_ends(stub: WorkerServiceAsyncStub, ring: LogRing) -> None:
    fill(ring, 0, 9)
    assert [line["message"] for line in await read(stub.StreamLogs(StreamLogsRequest()))] == list(range(9))
    of_one = await read(stub.StreamLogs(StreamLogsRequest(workload="workload 1")))
    assert [line["message"] for line in of_one] == [1, 4, 7]
    assert await read(stub.StreamLogs(StreamLogsRequest(workload="unknown"))) == []


async def test_following_goes_on_until_the_worker_has_drained(stub: WorkerServiceAsyncStub, ring: LogRing) -> None:
    fill(ring, 0, 3)
    call = stub.StreamLogs(StreamLogsRequest(follow=True))
    lines = aiter(call)
    assert [json.loads((await anext(lines)).line)["message"] for _ in range(3)] == [0, 1, 2]
    fill(ring, 3, 5)
    ring.close()
    assert [json.loads(answer.line)["message"] async for answer in call] == [3, 4]


async def test_a_slow_reader_is_told_what_it_missed(stub: WorkerServiceAsyncStub, ring: LogRing) -> None:
    call = stub.StreamLogs(StreamLogsRequest(follow=True))
    fill(ring, 0, 1)
    assert json.loads((await anext(aiter(call))).line)["message"] == 0
    fill(ring, 1, 3 * LINES_MAX)  # in one turn of the loop: nobody could have read them
    ring.close()
    missed, *rest = await read(call)
    assert missed["linesMissing"] == 2 * LINES_MAX - 1
    assert missed["levelname"] == "WARNING"
    assert [line["message"] for line in rest] == list(range(2 * LINES_MAX, 3 * LINES_MAX))


async def test_the_ring_is_bounded_in_bytes_too() -> None:
    ring = LogRing(lines_max=100, bytes_max=1000)
    for number in range(50):
        ring.append("", b"%03d" % number + b"x" * 97)
    assert [line[:3] async for line in ring.read(follow=False)] == [f"{number:03d}" for number in range(40, 50)]
