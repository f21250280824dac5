"""Workers that run many workloads at a time: how many they run, and what the end of one process does to the others."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import grpc
import pytest
import pytest_asyncio
from redis import Redis

from insula.keys import ApiKeys
from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until_awaited, until_blocking

PROJECT = Path(__file__).parent.parent / "projects" / "slots"
KILLS = 25


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack([PROJECT], data=tmp_path_factory.mktemp("slots")) as running:
        yield running


def submit(stack: Stack, api: str, payloads: list[object]) -> list[str]:
    """Submit one workload for each payload. Return their ids."""
    with grpc.insecure_channel(stack.public.removeprefix("http://")) as channel:
        submits = SubmitServiceStub(channel).SubmitWorkload
        bodies = [json.dumps(payload).encode() for payload in payloads]
        requests = [SubmitWorkloadRequest(api=api, content_type="application/json", payload=body) for body in bodies]
        return [answer.result().id for answer in [submits.future(request, timeout=60) for request in requests]]


def wait_until_ended(stack: Stack, api: str) -> dict[str, int]:
    """Wait until no workload of an API waits or runs. Return the number of workloads in each status."""

    def ended() -> bool:
        counts = stack.counts(api)
        return counts.get("in_queue", 0) == counts.get("in_progress", 0) == 0

    until_blocking(ended, 120, shown=lambda: str(stack.counts(api)))
    return stack.counts(api)


@pytest.mark.parametrize(("api", "number", "slots"), [("tasks", 1000, 100), ("threads", 320, 32)])
def test_a_worker_runs_as_many_workloads_at_a_time_as_it_has_slots(
    stack: Stack, api: str, number: int, slots: int
) -> None:
    """Ten rounds of one second each take less than two rounds more."""
    begun = time.monotonic()
    submit(stack, api, [1.0] * number)
    assert wait_until_ended(stack, api)["completed"] == number
    assert number / slots <= time.monotonic() - begun < 15


def test_two_processes_compute_on_two_cores(stack: Stack) -> None:
    ids = submit(stack, "cores", [0.3] * 6)
    ends = [HttpApi(f"{stack.public}/cores").end(id) for id in ids]
    assert len({end["result"]["process"] for end in ends}) == 2


def test_i5_poison_no_innocent_fails_with_a_payload_that_kills_its_process(stack: Stack) -> None:
    """Each workload that ran beside it runs again, alone, and loses no delivery: one would be enough."""
    payloads: list[object] = [0.2] * 100
    payloads[50] = {}
    ids = submit(stack, "threads", payloads)
    api = HttpApi(f"{stack.public}/threads")
    with ThreadPoolExecutor(8) as clients:
        ends = list(clients.map(api.end, ids))
    assert [end["status"] for end in ends] == ["failed" if number == 50 else "completed" for number in range(100)]
    assert ends[50]["error"]["message"] == "the handler's process ended with code 3 in each of 3 attempts"
    requeued = [line for line in stack.log_records("threads") if line["message"] == "workload requeued"]
    assert {line["id"] for line in requeued if line["counts_as_lost_attempt"]} == {ids[50]}
    assert len({line["id"] for line in requeued}) > 1


@pytest.mark.slow
async def test_i5_kills_of_one_of_four_processes_under_load_hurt_nobody(stack: Stack) -> None:
    """Everything completes, once.

    A kill waits for the end of what was accepted before the last one: a workload that is killed three times while it
    runs alone fails, because nothing shows that it is innocent.
    """
    before = stack.counts("threads").get("completed", 0)
    ids: list[str] = []
    stopping = asyncio.Event()

    async def load() -> None:
        while not stopping.is_set():
            ids.extend(await asyncio.to_thread(submit, stack, "threads", [0.3] * 32))
            await until_awaited(lambda: asyncio.to_thread(lambda: stack.counts("threads").get("in_queue", 0) < 64))

    loading = asyncio.create_task(load())
    for _ in range(KILLS):
        await kill_one(stack, list(ids))
    stopping.set()
    await loading
    counts = await asyncio.to_thread(wait_until_ended, stack, "threads")
    assert counts["completed"] == before + len(ids)


async def kill_one(stack: Stack, accepted: list[str]) -> None:
    """Kill a handler process once all are busy, and the accepted workloads have ended."""
    await until_awaited(lambda: asyncio.to_thread(busy_runners, stack))
    await until_awaited(lambda: asyncio.to_thread(all_ended, stack, accepted))
    os.kill(random.choice(stack.processes("runner", "threads")), 9)


def all_ended(stack: Stack, ids: list[str]) -> bool:
    """Whether none of these workloads is in the queue any more."""
    with Redis.from_url(stack.info["redis"]) as redis:
        oldest = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrange(ApiKeys("threads").queue, count=1))
    return not oldest or oldest[0][1][b"id"].decode() not in ids


def busy_runners(stack: Stack) -> bool:
    """Whether all four processes run, and all 32 slots are in use."""
    return len(stack.processes("runner", "threads")) == 4 and stack.counts("threads").get("in_progress", 0) >= 32
