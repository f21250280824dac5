"""The worker's side of the queue: claims what the runner can take, keeps the leases, drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.errors import StoreUnavailable
from insula.keys import ApiKeys
from insula.ledger import Claim, Claimant, Lease, WorkloadLedger
from insula_worker.attempts import Attempts
from insula_worker.runner_slot import RunnerSlot

log = logging.getLogger(__name__)

SCAN_S: Final = 2.0
"""How often a worker looks for workloads that nobody runs any more."""
AHEAD_S: Final = 0.1
AHEAD_MAX: Final = 63
"""While handlers are quick, a worker claims ahead what it finishes within AHEAD_S (invariant I6)."""
OUTAGE_RETRY_S: Final = 0.5
GIVE_BACK_S: Final = 2.0
"""How long a drain waits for Redis to take back what did not finish; what it does not take, a lease's end frees."""


@dataclass(frozen=True)
class _Taken:
    """What a call handed out. `newest` is the entry after which to wait, if nothing up to it waits."""

    claims: list[Claim]
    newest: str | None


class Claiming:
    """Claims for one API until told to stop."""

    def __init__(
        self,
        ledger: WorkloadLedger,
        blocking_redis: Redis,
        api: str,
        claimant: Claimant,
        attempts: Attempts,
        slot: RunnerSlot,
    ) -> None:
        self._ledger = ledger
        self._redis: Any = blocking_redis  # redis-py leaves the replies of stream commands untyped
        self._api = api
        self._claimant = claimant
        self._attempts = attempts
        self._slot = slot
        self._tasks: dict[str, tuple[Lease, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()
        self._handler_s: float | None = None
        self._predecessor = True  # the first reclaim finds what a killed worker of our name left behind

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._tasks)

    async def claim_for_ever(self) -> None:
        """Claim until cancelled. Attempts that run then go on: `drain` ends them."""
        loop = asyncio.get_running_loop()
        lease_s = self._ledger.policy.lease.total_seconds()
        outage, expired_from, scan_at = True, 0.0, 0.0
        while True:
            await self._slot.ready.wait()
            room = capacity(self._handler_s) - len(self._tasks)
            if room <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                if outage:  # also at the start: we cannot know how long Redis was away (invariant I4)
                    await self._ledger.open(self._api)
                    outage, expired_from = False, loop.time() + lease_s
                if loop.time() >= scan_at:
                    await self._take(self._reclaim(room, expired=loop.time() >= expired_from))
                    scan_at = loop.time() + SCAN_S
                    continue
                newest = await self._take(self._claim(room))
                if newest:
                    await self._doorbell(newest, scan_at - loop.time())
            except (StoreUnavailable, RedisError, OSError) as error:
                outage = True
                log.warning("redis is away", extra={"error": str(error)})
                await asyncio.sleep(OUTAGE_RETRY_S)

    async def renew_for_ever(self) -> None:
        """Renew every lease at a third of its length, until cancelled; stop the handler of one that was lost."""
        period_s = self._ledger.policy.lease.total_seconds() / 3
        pause_s = period_s
        while True:
            await asyncio.sleep(pause_s)
            leases = [lease for lease, _ in self._tasks.values()]
            try:
                lost = await self._ledger.renew(self._claimant.worker, leases) if leases else []
                pause_s = period_s
            except StoreUnavailable:
                pause_s = min(OUTAGE_RETRY_S, period_s)
                continue
            if any(self._abandon(lease) for lease in lost):
                await self._slot.recycle()

    async def drain(self, grace_s: float) -> None:
        """Let attempts finish within `grace_s`, give the others back (invariant I7). Cancel `claim_for_ever` first."""
        await self._wait_for_tasks(grace_s)
        await self._slot.stop()  # what still ran gives itself back now
        await self._wait_for_tasks(GIVE_BACK_S)

    async def _wait_for_tasks(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait([task for _, task in self._tasks.values()], timeout=timeout_s)

    async def _claim(self, room: int) -> _Taken:
        newest, claims = await self._ledger.claim(self._api, self._claimant, count=room)
        return _Taken(claims, newest if len(claims) < room else None)

    async def _reclaim(self, room: int, *, expired: bool) -> _Taken:
        claims = await self._ledger.reclaim(
            self._api, self._claimant, count=room, held=self._tasks, expired=expired, own_lost=self._predecessor
        )
        self._predecessor = self._predecessor and len(claims) == room  # there may be more of them
        return _Taken(claims, None)

    async def _take(self, call: Coroutine[Any, Any, _Taken]) -> str | None:
        """Start what a call hands out, also when cancelled meanwhile: nobody else would know of it for a lease."""
        taking = asyncio.create_task(self._start_all(call))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                await taking
            raise

    async def _start_all(self, call: Coroutine[Any, Any, _Taken]) -> str | None:
        taken = await call
        for claim in taken.claims:
            task = asyncio.create_task(self._run(claim), name=claim.lease.id)
            self._tasks[claim.lease.id] = (claim.lease, task)
        return taken.newest

    async def _run(self, claim: Claim) -> None:
        try:
            handler_s = await self._attempts.run(claim)
            if handler_s is not None:
                previous_s = handler_s if self._handler_s is None else self._handler_s
                self._handler_s = 0.8 * previous_s + 0.2 * handler_s
        finally:
            held = self._tasks.get(claim.lease.id)
            if held is not None and held[0] == claim.lease:
                del self._tasks[claim.lease.id]
            self._changed.set()

    def _abandon(self, lease: Lease) -> bool:
        """Stop an attempt whose lease is lost; tells whether it was still ours to stop."""
        held = self._tasks.get(lease.id)
        if held is None or held[0] != lease:
            return False
        log.warning("lease lost", extra={"id": lease.id, "attempt": lease.attempt})
        return held[1].cancel()

    async def _doorbell(self, newest: str, timeout_s: float) -> None:
        """Wait until the queue holds an entry after `newest`, or the time has passed."""
        if timeout_s <= 0:
            return
        block_ms = max(1, int(timeout_s * 1000))
        queue = ApiKeys(self._api).queue
        await self._redis.execute_command("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", queue, newest)


def capacity(handler_s: float | None) -> int:
    """Claims to hold at once: the one that runs, and what follows it within AHEAD_S while handlers are that quick."""
    if handler_s is None:
        return 1
    return 1 + min(AHEAD_MAX, int(AHEAD_S / max(handler_s, 1e-6)))
