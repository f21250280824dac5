"""A workload whose attempt was lost is started again at once. An attempt that writes its outcome is not cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from insula.ledger import Claim, Claimant, Lease, LedgerPolicy, Payload
from insula_worker.attempts import claiming
from insula_worker.attempts.claiming import Claiming, Serving
from tests.waiting import until


@dataclass
class Queue:
    """A fake ledger with one workload. Each reclaim returns it, and each claim returns nothing."""

    attempts: list[int] = field(default_factory=list[int])
    policy: LedgerPolicy = field(default_factory=LedgerPolicy)

    async def open(self, *_: object) -> None:
        pass

    async def reclaim(self, api: str, *_: object, **__: object) -> list[Claim]:
        self.attempts.append(len(self.attempts) + 1)
        lease = Lease(api, "id", self.attempts[-1], "1-0")
        return [Claim(lease, Payload("text/plain", 1, inline=b"x"), "")]

    async def claim(self, *_: object, **__: object) -> tuple[str, list[Claim]]:
        return "1-0", []


class SilentRedis:
    """A fake Redis whose commands block forever, because no entry is added to the queue."""

    async def execute_command(self, *_: object) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_attempt_is_followed_by_another_at_once(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    monkeypatch.setattr(claiming, "SCAN_S", 3600.0)
    queue, completed = Queue(), asyncio.Event()

    async def run(claim: Claim) -> float | None:
        await asyncio.sleep(0)  # so that the claiming waits for an entry when the attempt is lost
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if claim.lease.attempt <= lost:
            return None
        completed.set()
        return 0.001

    ready = asyncio.Event()
    ready.set()
    slot: Any = SimpleNamespace(ready=ready, busy_s=0.0)
    attempts: Any = SimpleNamespace(run=run, payloads=SimpleNamespace(aside=0))
    ledger: Any = queue
    redis: Any = SilentRedis()
    claims = Claiming(ledger, redis, "echo", "echo-0")
    claims.serve(Serving(Claimant("echo-0", "v1", "127.0.0.1:1"), attempts, slot))
    claiming_task = asyncio.create_task(claims.claim_for_ever())
    await asyncio.wait_for(completed.wait(), 60)
    assert queue.attempts == list(range(1, lost + 2))
    claiming_task.cancel()
    with suppress(asyncio.CancelledError):
        await claiming_task


class LosingQueue(Queue):
    """A fake ledger whose leases are all lost at their first renewal."""

    async def renew(self, _: str, leases: list[Lease]) -> list[Lease]:
        return leases


@pytest.mark.parametrize("writes", [True, False])
async def test_a_lost_lease_stops_a_handler_but_not_the_write_of_its_outcome(*, writes: bool) -> None:
    """A cancelled write to S3 would go on in its thread, and nothing would delete the object."""
    begun, renewed, recycled, ended = asyncio.Event(), asyncio.Event(), list[str](), list[str]()
    writing = set[Lease]()

    async def run(claim: Claim) -> float | None:
        if writes:
            writing.add(claim.lease)
        begun.set()
        try:
            await renewed.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("refused")
        await asyncio.Event().wait()
        return None

    async def recycle(because: str) -> None:
        recycled.append(because)

    ready = asyncio.Event()
    ready.set()
    slot: Any = SimpleNamespace(ready=ready, busy_s=0.0, recycle=recycle)
    payloads = SimpleNamespace(aside=0, waiting=set[str]())
    attempts: Any = SimpleNamespace(run=run, payloads=payloads, writing=writing)
    ledger: Any = LosingQueue(policy=LedgerPolicy(lease=timedelta(seconds=0.03)))
    redis: Any = SilentRedis()
    claims = Claiming(ledger, redis, "echo", "echo-0")
    claims.serve(Serving(Claimant("echo-0", "v1", "127.0.0.1:1"), attempts, slot))
    tasks = [asyncio.create_task(claims.claim_for_ever()), asyncio.create_task(claims.renew_for_ever())]
    await asyncio.wait_for(begun.wait(), 60)
    if writes:
        asyncio.get_running_loop().call_later(0.1, renewed.set)  # after several renewals
    await until(lambda: bool(ended))
    assert (ended, recycled) == ((["refused"], []) if writes else (["cancelled"], ["its lease is lost"]))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
