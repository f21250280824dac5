"""The Python client with a whole stack, also over a connection that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from insula import AsyncClient, Client, Outcome, Status
from tests.stack import Stack
from tests.waiting import until_blocking


class Cable:
    """A TCP proxy to the stack. If `cut` returns True for data of an answer, the connection is aborted instead."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self.cut: Callable[[bytes], bool] = lambda _: False
        self.cuts = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until a side closes it or it is cut."""
        answers, requests = await asyncio.open_connection(self._host, self._port)
        pumps = self._pump(reader, requests), self._pump(answers, writer, answers=True)
        try:
            await asyncio.wait(map(asyncio.ensure_future, pumps), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, requests):
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False) -> None:
        while data := await source.read(65536):
            if answers and self.cut(data):
                self.cuts += 1
                return
            sink.write(data)
            await sink.drain()


@asynccontextmanager
async def cable_to(stack: Stack) -> AsyncGenerator[tuple[Cable, str]]:
    """Start a cable. Yield it and the URL for the client."""
    cable = Cable(stack.public)
    server = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    try:
        yield cable, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_submit_whose_answer_is_lost_is_one_workload(stack: Stack) -> None:
    """The answer, which has the id, is lost three times. The client repeats the submit with the same key."""
    before = sum(stack.counts("probe").values())
    async with cable_to(stack) as (cable, url), AsyncClient(url) as client:
        cable.cut = lambda _: cable.cuts < 3 and sum(stack.counts("probe").values()) > before
        id = await client.submit("probe", {"return": {"n": 1}}, idempotency_key="lost-answers")
        assert cable.cuts == 3
        assert (await client.wait("probe", id, 60)).result == {"n": 1}
    assert sum(stack.counts("probe").values()) == before + 1


async def test_a_watch_continues_after_its_connection_breaks(stack: Stack) -> None:
    async with cable_to(stack) as (cable, url), AsyncClient(url) as client:
        id = await client.submit("probe", {"sleep_s": 2, "return": {}})
        seen: list[Status] = []
        async for workload in client.watch("probe", id, 60):
            seen.append(workload.status)
            if workload.status is Status.IN_PROGRESS and cable.cuts == 0:
                cable.cut = lambda _: cable.cuts == 0
        assert seen[-2:] == [Status.IN_PROGRESS, Status.COMPLETED]
        assert len(seen) == len(set(seen))
        assert cable.cuts == 1


def test_map_returns_each_outcome_and_failures_do_not_stop_it(stack: Stack) -> None:
    payloads: list[dict[str, object]] = [{"raise": "no"} if n % 50 == 7 else {"return": {"n": n}} for n in range(200)]
    with Client(stack.public) as client:
        outcomes = list(client.map("probe", payloads, in_flight=20))
    assert [outcome.index for outcome in outcomes] == list(range(200))
    assert [outcome.index for outcome in outcomes if outcome.error] == [7, 57, 107, 157]
    assert all(outcome.result() == {"n": outcome.index} for outcome in outcomes if not outcome.error)


async def test_as_completed_returns_every_outcome_of_the_asynchronous_client(stack: Stack) -> None:
    async with AsyncClient(stack.public) as client:
        payloads: list[dict[str, object]] = [{"sleep_s": 1, "return": {}}]
        payloads.extend({"return": {"n": n}} for n in range(20))
        outcomes: list[Outcome] = [each async for each in client.map("probe", payloads, as_completed=True)]
    assert sorted(each.index for each in outcomes) == list(range(21))
    assert all(each.error is None for each in outcomes)


def test_workloads_run_to_their_end_if_the_iteration_stops_early(stack: Stack) -> None:
    with Client(stack.public) as client:
        outcomes = client.map("probe", ({"return": {"n": n}} for n in range(1000)), in_flight=4)
        first = next(outcomes)
        del outcomes
        assert first.result() == {"n": 0}
    live = (Status.IN_QUEUE.value, Status.IN_PROGRESS.value)
    until_blocking(lambda: not any(stack.counts("probe").get(status, 0) for status in live))
