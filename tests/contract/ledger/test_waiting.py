"""Redis wakes workers that wait for workloads, and clients that wait for the end of a workload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from insula.errors import StoreUnavailable
from insula.ids import new_id
from insula.ledger import Claimant, Payload, Result, WorkloadLedger
from insula.ledger.doorbell import Doorbell
from insula.ledger.updates import Updates
from insula.status import Status
from insula.stores.redis_client import connect_blocking
from tests.valkey import Valkey

LONG_S = 60


@pytest.fixture
async def blocking(valkey: Valkey) -> AsyncIterator[Redis]:
    client = connect_blocking(valkey.url)
    yield client
    await client.aclose()


async def test_the_doorbell_wakes_a_worker_for_each_later_entry(
    ledger: WorkloadLedger, blocking: Redis, payload: Payload, alice: Claimant
) -> None:
    bell = Doorbell(blocking, "echo")
    newest, _ = await ledger.claim("echo", alice, count=1)
    waiting = asyncio.create_task(bell.wait(newest, LONG_S))
    await ledger.submit("echo", new_id(), payload, queue_limit=10)
    async with asyncio.timeout(LONG_S / 2):
        await waiting
        await bell.wait(newest, LONG_S)
        newest, [_] = await ledger.claim("echo", alice, count=1)
        await bell.wait(newest, 0.01)
        await bell.wait(newest, -1)


async def test_a_doorbell_without_redis_raises_store_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await Doorbell(connect_blocking("redis://127.0.0.1:1"), "echo").wait("0-0", 1)


async def test_a_watcher_is_woken_by_each_change_of_its_workload(
    ledger: WorkloadLedger, blocking: Redis, payload: Payload, alice: Claimant
) -> None:
    id = new_id()
    await ledger.submit("echo", id, payload, queue_limit=10)
    updates = Updates(blocking)

    async def until(bell: asyncio.Event, status: Status) -> None:
        while True:
            bell.clear()
            workload = await ledger.read("echo", id)
            if workload is not None and workload.status is status:
                return
            await bell.wait()

    async with asyncio.timeout(LONG_S / 2), updates.watch("echo", id) as bell, updates.watch("echo", id) as another:
        started = [asyncio.create_task(until(each, Status.IN_PROGRESS)) for each in (bell, another)]
        _, [claim] = await ledger.claim("echo", alice, count=1)
        await asyncio.gather(*started)
        ended = asyncio.create_task(until(bell, Status.COMPLETED))
        await ledger.finish(claim.lease, Result(inline=b"{}"))
        await ended
