"""A workload whose attempt was lost is started again at once. An attempt that writes its outcome is not stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from insula.errors import StoreUnavailable
from insula.ledger import Claim, Claimant, Failure, Lease, LedgerPolicy, Payload, Result
from insula.status import Status
from insula_worker.attempts import claiming, outcomes
from insula_worker.attempts.claiming import Claiming
from insula_worker.runners.messages import Completed, Job, Unfinished
from insula_worker.runners.observers import Observers
from tests.handler_output import Printed
from tests.waiting import until


@dataclass
class Queue:
    """A fake ledger with one workload. Each reclaim returns it until it has ended, and each claim returns nothing."""

    policy: LedgerPolicy = field(default_factory=LedgerPolicy)
    attempts: list[int] = field(default_factory=list[int])
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    writes: asyncio.Event = field(default_factory=asyncio.Event)
    loses: bool = False
    outages: int = 0
    suspect: bool = False
    begun: list[Lease] = field(default_factory=list[Lease])

    async def open(self, *_: object) -> None:
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("Redis", "Connection closed")

    async def reclaim(self, api: str, *_: object, held: Collection[str], **__: object) -> list[Claim]:
        if held or self.ended.is_set():
            return []
        self.attempts.append(len(self.attempts) + 1)
        lease = Lease(api, "id", self.attempts[-1], "1-0")
        return [Claim(lease, Payload("text/plain", 1, inline=b"x"), "", self.suspect)]

    async def begin(self, lease: Lease) -> None:
        self.begun.append(lease)

    async def claim(self, *_: object, **__: object) -> tuple[str, list[Claim]]:
        return "1-0", []

    async def requeue(self, *_: object, **__: object) -> Status:
        return Status.IN_QUEUE

    async def renew(self, _: str, leases: list[Lease]) -> list[Lease]:
        return leases if self.loses else []

    async def finish_all(self, outcomes: Sequence[tuple[Lease, Result | Failure]]) -> set[Lease]:
        self.ended.set()
        await self.writes.wait()
        return {lease for lease, _ in outcomes} if self.loses else set()


class Pool:
    """A fake pool with one slot. `run` ends each job, or keeps it."""

    def __init__(self, run: Callable[[Job, int], None]) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.dropped: list[str] = []
        self.single, self.room, self.room_for_suspects, self.running = True, 1, 1, 0
        self._run = run
        self._given = 0

    def give(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._given, self.room = self._given + 1, 0
            self._run(job, self._given)

    async def drop(self, job: Job, because: str) -> None:
        self.dropped.append(because)
        job.ended(Unfinished(because))


class SilentRedis:
    """A fake Redis whose commands block forever, because no entry is added to the queue."""

    async def execute_command(self, *_: object) -> None:
        await asyncio.Event().wait()


@dataclass
class LongQueue(Queue):
    """A fake ledger in which each claim returns the next workload."""

    async def reclaim(self, *_: object, **__: object) -> list[Claim]:
        return []

    async def claim(self, *_: object, **__: object) -> tuple[str, list[Claim]]:
        self.attempts.append(1)
        lease = Lease("echo", f"id-{len(self.attempts)}", 1, "1-0")
        return "1-0", [Claim(lease, Payload("text/plain", 1, inline=b"x"), "")]


class SlowS3:
    """A fake S3 that takes nothing until `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def write(self, *_: object) -> None:
        await self.answers.wait()


@asynccontextmanager
async def running(queue: Queue, pool: Pool, s3: SlowS3 | None = None) -> AsyncGenerator[Claiming]:
    ledger: Any = queue
    redis: Any = SilentRedis()
    objects: Any = s3
    release: Any = pool
    claims = Claiming(ledger, objects, redis, "echo", "echo-0", Observers(Printed()))
    claims.serve(release, Claimant("echo-0", "v1", "127.0.0.1:1"))
    tasks = [asyncio.create_task(claims.claim_for_ever()), asyncio.create_task(claims.renew_for_ever())]
    yield claims
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_attempt_is_followed_by_another_at_once(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    monkeypatch.setattr(claiming, "SCAN_S", 3600.0)
    queue = Queue()
    queue.writes.set()

    def end(job: Job, number: int) -> None:
        pool.room = 1
        job.ended(Unfinished("lost") if number <= lost else Completed(b"{}", 0.001))

    def run(job: Job, number: int) -> None:
        # Later, so that the claiming waits for an entry when the attempt is lost.
        asyncio.get_running_loop().call_later(0.02, end, job, number)

    pool = Pool(run)
    async with running(queue, pool):
        await asyncio.wait_for(queue.ended.wait(), 60)
    assert queue.attempts == list(range(1, lost + 2))


async def test_the_ledger_knows_when_a_suspect_begins() -> None:
    """The runner reports that a suspect begins, and the worker writes this to the ledger."""
    queue = Queue(suspect=True)
    given: list[Job] = []
    async with running(queue, Pool(lambda job, _: given.append(job))):
        await until(lambda: bool(given))
        assert queue.begun == []
        assert given[0].begins is not None
        given[0].begins()
        await until(lambda: queue.begun == [Lease("echo", "id", 1, "1-0")])


@pytest.mark.parametrize("writes", [True, False])
async def test_a_lost_lease_stops_a_handler_but_not_the_write_of_its_outcome(*, writes: bool) -> None:
    """A worker without its lease may try to write the outcome, because the ledger refuses the write."""
    queue = Queue(LedgerPolicy(lease=timedelta(seconds=0.03)), loses=True)
    pool = Pool(lambda job, _: job.ended(Completed(b"{}", 0.001)) if writes else None)
    async with running(queue, pool):
        if writes:
            await asyncio.wait_for(queue.ended.wait(), 60)
            asyncio.get_running_loop().call_later(0.1, queue.writes.set)  # after several renewals
            await queue.writes.wait()
        else:
            await until(lambda: bool(pool.dropped))
    assert pool.dropped == ([] if writes else ["its lease is lost"])


async def next_turn(claims: Claiming) -> None:
    turns = claims.pulse.turns
    claims.wake()
    await until(lambda: claims.pulse.turns > turns)


async def test_i10_bounded_no_workload_is_claimed_while_large_results_wait_for_s3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The results that wait for S3 have a limit in bytes. At this limit the worker claims no workload."""
    result = b'{"text": "%s"}' % (b"x" * 6000)
    monkeypatch.setattr(outcomes, "STORING_BYTES_MAX", 2 * len(result))
    monkeypatch.setattr(claiming, "SCAN_S", 3600.0)
    queue, s3 = LongQueue(), SlowS3()

    def end(job: Job, number: int) -> None:
        pool.room = number + 1  # one slot is free beside the results that wait
        job.ended(Completed(result, 0.001))

    pool = Pool(end)
    async with running(queue, pool, s3) as claims:
        await until(lambda: len(queue.attempts) >= 2)
        for _ in range(3):
            await next_turn(claims)
        assert len(queue.attempts) == 2
        queue.writes.set()
        s3.answers.set()
        await until(lambda: len(queue.attempts) > 2)


async def test_a_reclaim_after_an_outage_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A successful reclaim ends the state `failing` of the pulse.

    Its workload may occupy the last slot for longer than a lease, so that no claim can do this.
    """
    monkeypatch.setattr(claiming, "OUTAGE_RETRY_S", 0.0)
    queue = Queue(outages=1)
    kept: list[Job] = []
    async with running(queue, Pool(lambda job, _: kept.append(job))) as claims:
        await until(lambda: bool(kept))
        await until(lambda: not claims.pulse.failing)  # the task that reclaimed it goes on a little later
