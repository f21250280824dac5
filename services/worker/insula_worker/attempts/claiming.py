"""Claims as many workloads as the runner has room for, renews their leases, and drains the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from insula.errors import StoreFull, StoreUnavailable
from insula.ledger import Claim, Claimant, Lease, WorkloadLedger
from insula.ledger.doorbell import Doorbell
from insula_worker.attempts.attempt import Attempts
from insula_worker.attempts.pulse import Pulse
from insula_worker.runners.slot import RunnerSlot

log = logging.getLogger(__name__)

SCAN_S: Final = 2.0
"""Seconds between two searches for claimed workloads that no worker runs any more."""
AHEAD_S: Final = 0.1
AHEAD_MAX: Final = 63
"""A worker claims workloads ahead only if it expects to finish them within AHEAD_S (invariant I6)."""
OUTAGE_RETRY_S: Final = 0.5
GIVE_BACK_S: Final = 2.0
"""How long a drain waits for Redis while giving workloads back. The leases of the other workloads expire."""
LAST_CLAIM_S: Final = 10.0
"""How long a drain waits for the reply to a claim. It is more than the time-out of the call."""


@dataclass(frozen=True)
class _Taken:
    """The result of a claim or reclaim.

    `newest` is the id of the queue's last entry. It is None if unclaimed entries may be left.
    """

    claims: list[Claim]
    newest: str | None


@dataclass(frozen=True)
class Serving:
    """The version that runs the claimed workloads.

    `claimant` names the worker and the version. `attempts` runs the workloads in the runner of `slot`.
    """

    claimant: Claimant
    attempts: Attempts
    slot: RunnerSlot


@dataclass(frozen=True)
class _Held:
    """A running attempt and its lease."""

    lease: Lease
    serving: Serving
    task: asyncio.Task[None]


class Claiming:
    """Claims workloads of one API under the name of one worker."""

    def __init__(self, ledger: WorkloadLedger, blocking_redis: Redis, api: str, worker: str) -> None:
        self.pulse: Final = Pulse()
        self._ledger = ledger
        self._doorbell = Doorbell(blocking_redis, api)
        self._api = api
        self._worker = worker
        self._serving: Serving | None = None
        self._held: dict[str, _Held] = {}
        self._changed = asyncio.Event()
        self._handler_s: float | None = None
        self._scan_at = 0.0  # when the next search for workloads that no worker runs is due
        self._entry_wait: asyncio.Timeout | None = None
        self._predecessor = True  # the first reclaim finds the claims of a killed worker with our name

    def serve(self, serving: Serving | None) -> None:
        """Claim for this version from now on, or for none. Running attempts continue in their slots."""
        self._serving, self._handler_s = serving, None
        self.wake()

    def wake(self) -> None:
        """Check again whether there is room. Call it when this may have changed, such as when a runner is ready."""
        self._changed.set()

    def running_in(self, slot: RunnerSlot) -> int:
        """Number of running attempts in a slot."""
        return sum(held.serving.slot is slot for held in self._held.values())

    async def claim_for_ever(self) -> None:
        """Claim until cancelled. Running attempts continue after that; `finish` waits for them."""
        loop = asyncio.get_running_loop()
        lease_s = self._ledger.policy.lease.total_seconds()
        outage, expired_from = True, 0.0
        while True:
            serving, room = await self._room()
            try:
                if outage:  # True at the start too, because Redis may have been unavailable until now (invariant I4)
                    await self._ledger.open(self._api)
                    outage, expired_from = False, loop.time() + lease_s
                if loop.time() >= self._scan_at:
                    self._scan_at = loop.time() + SCAN_S
                    await self._take(serving, self._reclaim(serving, room, expired=loop.time() >= expired_from))
                    continue
                newest = await self._take(serving, self._claim(serving, room))
                if newest:
                    await self._wait_for_entry(newest, self._scan_at - loop.time())
                self.pulse.worked()
            except (StoreUnavailable, StoreFull) as error:
                self.pulse.failed()
                outage, self._scan_at = True, 0.0
                log.warning("redis unavailable", extra={"error": str(error)})
                await asyncio.sleep(OUTAGE_RETRY_S)

    async def _wait_for_entry(self, newest: str, timeout_s: float) -> None:
        """Wait until the queue has an entry after `newest` or `_scan_at_once` is called, `timeout_s` at most."""
        try:
            async with asyncio.timeout(None) as self._entry_wait:
                await self._doorbell.wait(newest, timeout_s)
        except TimeoutError:  # raised by _scan_at_once
            pass
        finally:
            self._entry_wait = None

    def _scan_at_once(self) -> None:
        """Search at once, because an attempt was lost or given back and its workload is in the queue again."""
        self._scan_at = 0.0
        if self._entry_wait is not None:
            self._entry_wait.reschedule(asyncio.get_running_loop().time())
            self._entry_wait = None

    async def _room(self) -> tuple[Serving, int]:
        """Wait until a ready runner has room. Return its version, and the number of claims it has room for."""
        lease_s = self._ledger.policy.lease.total_seconds()
        while True:
            self.pulse.turned()
            serving = self._serving
            if serving is not None and serving.slot.ready.is_set():
                held = self.running_in(serving.slot) - serving.attempts.payloads.aside
                room = capacity(self._handler_s, serving.slot.busy_s) - held
                if room > 0:
                    return serving, room
            self._changed.clear()
            with suppress(TimeoutError):  # the turns show that the loop is alive
                async with asyncio.timeout(lease_s):
                    await self._changed.wait()

    async def renew_for_ever(self) -> None:
        """Renew all leases, each time a third of a lease's length has passed, until cancelled.

        If a lease is lost, its attempt is stopped.
        """
        period_s = self._ledger.policy.lease.total_seconds() / 3
        pause_s = period_s
        while True:
            await asyncio.sleep(pause_s)
            leases = [held.lease for held in self._held.values()]
            try:
                lost = await self._ledger.renew(self._worker, leases) if leases else []
                pause_s = period_s
            except StoreUnavailable:
                pause_s = min(OUTAGE_RETRY_S, period_s)
                continue
            for lease in lost:
                await self._abandon(lease)

    async def finish(self, grace_s: float) -> None:
        """Wait until all attempts have ended, `grace_s` at most. Attempts that wait for S3 are given back.

        Cancel `claim_for_ever` first.
        """
        await self._wait_for(list(self._held.values()), grace_s)

    async def settle(self) -> None:
        """Wait until the attempts of stopped runners are given back, GIVE_BACK_S at most (invariant I7)."""
        await self._wait_for(list(self._held.values()), GIVE_BACK_S)

    async def idle_in(self, slot: RunnerSlot) -> None:
        """Wait until the slot has no running attempt. Its attempts that wait for S3 are given back."""
        await self._wait_for([held for held in self._held.values() if held.serving.slot is slot], None)

    async def _wait_for(self, attempts: list[_Held], timeout_s: float | None) -> None:
        for held in attempts:
            held.serving.attempts.payloads.stop_waiting()
        if attempts:
            await asyncio.wait([held.task for held in attempts], timeout=timeout_s)

    async def _claim(self, serving: Serving, room: int) -> _Taken:
        newest, claims = await self._ledger.claim(self._api, serving.claimant, count=room)
        return _Taken(claims, newest if len(claims) < room else None)

    async def _reclaim(self, serving: Serving, room: int, *, expired: bool) -> _Taken:
        claims = await self._ledger.reclaim(
            self._api, serving.claimant, count=room, held=self._held, expired=expired, own_lost=self._predecessor
        )
        self._predecessor = self._predecessor and len(claims) == room  # if so, there may be further ones
        return _Taken(claims, None)

    async def _take(self, serving: Serving, call: Coroutine[Any, Any, _Taken]) -> str | None:
        """Start the claims that `call` returns, even if cancelled. Otherwise nothing would run them until they expire.

        Return `newest` of the result.
        """
        taking = asyncio.create_task(self._start_all(serving, call))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(LAST_CLAIM_S):
                    await taking
            raise

    async def _start_all(self, serving: Serving, call: Coroutine[Any, Any, _Taken]) -> str | None:
        taken = await call
        for claim in taken.claims:
            task = asyncio.create_task(self._run(serving, claim), name=claim.lease.id)
            self._held[claim.lease.id] = _Held(claim.lease, serving, task)
        return taken.newest

    async def _run(self, serving: Serving, claim: Claim) -> None:
        try:
            handler_s = await serving.attempts.run(claim)
            if handler_s is None:
                self._scan_at_once()
            else:
                previous_s = handler_s if self._handler_s is None else self._handler_s
                self._handler_s = 0.8 * previous_s + 0.2 * handler_s
        finally:
            held = self._held.get(claim.lease.id)
            if held is not None and held.lease == claim.lease:
                del self._held[claim.lease.id]
            self.wake()

    async def _abandon(self, lease: Lease) -> None:
        """Stop the attempt of a lost lease, unless a later lease of the same workload is held by now.

        If its handler has returned, the attempt ends by itself: its write is refused.
        """
        held = self._held.get(lease.id)
        if held is not None and held.lease == lease and lease not in held.serving.attempts.writing:
            log.warning("lease lost", extra={"id": lease.id, "attempt": lease.attempt})
            runs = lease.id not in held.serving.attempts.payloads.waiting
            held.task.cancel()
            if runs:
                await held.serving.slot.recycle("its lease is lost")


def capacity(handler_s: float | None, busy_s: float) -> int:
    """Return how many claims to hold at the same time: the running one, and those that fit into AHEAD_S.

    `handler_s` is the recent average of the handler's run times, None before the first. `busy_s` is the run time of the
    current one so far. Both are in seconds.
    """
    expected_s = max(handler_s or 0.0, busy_s, 1e-6)
    return 1 if handler_s is None else 1 + min(AHEAD_MAX, int(AHEAD_S / expected_s))
