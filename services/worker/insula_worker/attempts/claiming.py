"""Claims as many workloads as the runners have room for, renews their leases, and drains the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from insula.errors import StoreFull, StoreUnavailable
from insula.ledger import Claim, Claimant, Lease, WorkloadLedger
from insula.ledger.doorbell import Doorbell
from insula.stores.objects import ObjectStore
from insula_worker.attempts.attempt import Attempt
from insula_worker.attempts.attempts import Attempts
from insula_worker.attempts.outcomes import Outcomes
from insula_worker.attempts.payloads import HeldBytes, Patience, Payloads
from insula_worker.attempts.pulse import Pulse
from insula_worker.attempts.workload_lines import WorkloadLines
from insula_worker.runners.observers import Observers
from insula_worker.runners.pool import RunnerPool
from insula_worker.runners.runner import NOT_STARTED, STOPPING

log = logging.getLogger(__name__)

SCAN_S: Final = 2.0
"""Seconds between two searches for claimed workloads that no worker runs any more."""
CLAIMS_MAX: Final = 256
"""Maximum number of workloads in one claim. It limits the time for which the claim blocks Redis for other clients."""
OUTAGE_RETRY_S: Final = 0.5
GIVE_BACK_S: Final = 2.0
"""Maximum seconds in which a drain returns workloads to the queue. The others run again when their leases expire."""
LAST_CLAIM_S: Final = 10.0
"""Maximum seconds that a drain waits for Redis' reply to a claim. It exceeds the time-out of a call to Redis."""


@dataclass(frozen=True)
class _Taken:
    """The result of a claim or reclaim.

    `newest` is the id of the last entry in the queue's stream, or None if it may still have workloads to claim.
    """

    claims: list[Claim]
    newest: str | None


@dataclass(frozen=True)
class Serving:
    """The version that runs the claimed workloads.

    `claimant` names the worker and the version. `attempts` runs the workloads.
    """

    claimant: Claimant
    attempts: Attempts


class Claiming:
    """Claims the workloads of one API for one worker, and renews the leases of all its attempts."""

    def __init__(
        self,
        ledger: WorkloadLedger,
        objects: ObjectStore,
        blocking_redis: Redis,
        api: str,
        worker: str,
        observers: Observers,
        patience: Patience | None = None,
    ) -> None:
        """`patience` is the retry policy for payloads that S3 did not return."""
        self.pulse: Final = Pulse()
        self._ledger = ledger
        self._objects = objects
        self._doorbell = Doorbell(blocking_redis, api)
        self._api = api
        self._worker = worker
        self._lines = WorkloadLines(observers.lines, api)
        self._outcomes = Outcomes(ledger, objects, observers, self._lines, self._ended)
        self._held_bytes = HeldBytes()
        self._patience = patience or Patience()
        self.serving: Serving | None = None
        """The version that workloads are claimed for; see `serve`."""
        self._held: dict[str, tuple[Attempt, Attempts]] = {}
        self._changed = asyncio.Event()
        self._scan_at = 0.0  # when the next search for workloads that no worker runs is due
        self._suspects_from = 0.0  # when the next suspect may be claimed
        self._queue_empty = False
        self._entry_wait: asyncio.Timeout | None = None
        self._predecessor = True  # the first reclaim finds the claims of a killed worker with our name
        self._fewer = asyncio.Event()

    def serve(self, pool: RunnerPool | None, claimant: Claimant | None = None) -> None:
        """From now on, claim workloads for the release with this pool and claimant, or none if `pool` is None.

        Running attempts of the previous release continue. Its workloads that wait for S3 return to the queue.
        """
        if self.serving is not None:
            self.serving.attempts.payloads.stop_waiting()
        self.serving = None
        if pool is not None and claimant is not None:
            pool.changed = self.wake
            payloads = Payloads(self._objects, self.wake, self._patience)
            attempts = Attempts(pool, payloads, self._held_bytes, self._outcomes, self._answered)
            self.serving = Serving(claimant, attempts)
        self.wake()

    def wake(self) -> None:
        """Make the poll loop check how many workloads to claim. Call this if the number may be greater than before."""
        self._changed.set()

    def running_in(self, pool: RunnerPool) -> int:
        """Number of attempts in a pool that have not ended."""
        return sum(attempts.pool is pool for _, attempts in self._held.values())

    async def claim_for_ever(self) -> None:
        """Claim workloads until cancelled. The cancellation does not end running attempts; `finish` waits for them."""
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
        """Make the poll loop search now, and not after SCAN_S, for workloads to run again, such as requeued ones."""
        self._scan_at = 0.0
        if self._entry_wait is not None:
            self._entry_wait.reschedule(asyncio.get_running_loop().time())
            self._entry_wait = None

    async def _room(self) -> tuple[Serving, int]:
        """Wait until a runner has room. Return the version and the number of workloads to claim, at most CLAIMS_MAX."""
        lease_s = self._ledger.policy.lease.total_seconds()
        while True:
            self.pulse.turned()
            if self.serving is not None and not self._outcomes.full:
                room = self.serving.attempts.room - self._outcomes.storing
                if room > 0:
                    return self.serving, min(room, CLAIMS_MAX)
            self._changed.clear()
            with suppress(TimeoutError):  # the turns show that the loop is alive
                async with asyncio.timeout(lease_s):
                    await self._changed.wait()

    async def renew_for_ever(self) -> None:
        """Renew all leases every third of a lease's length, until cancelled.

        If a lease is lost, its attempt is stopped.
        """
        period_s = self._ledger.policy.lease.total_seconds() / 3
        pause_s = period_s
        while True:
            await asyncio.sleep(pause_s)
            leases = [attempt.lease for attempt, _ in self._held.values()]
            try:
                lost = await self._ledger.renew(self._worker, leases) if leases else []
                pause_s = period_s
            except StoreUnavailable:
                pause_s = min(OUTAGE_RETRY_S, period_s)
                continue
            for lease in lost:
                await self._abandon(lease)

    async def finish(self, grace_s: float) -> None:
        """Wait until all attempts have ended, `grace_s` at most. Workloads that wait for S3 return to the queue.

        Cancel `claim_for_ever` first.
        """
        for attempts in {attempts for _, attempts in self._held.values()}:
            attempts.payloads.stop_waiting()
        await self._wait_while(lambda: bool(self._held), grace_s)

    async def settle(self) -> None:
        """Return the workloads of stopped runners to the queue. Waits GIVE_BACK_S at most (invariant I7)."""
        for attempts in {attempts for _, attempts in self._held.values()}:
            attempts.stop_reading(NOT_STARTED.format(STOPPING))
        await self._wait_while(lambda: bool(self._held), GIVE_BACK_S)

    async def idle_in(self, pool: RunnerPool) -> None:
        """Wait until the pool has no attempt. Its workloads that wait for S3 return to the queue."""
        for attempts in {attempts for _, attempts in self._held.values() if attempts.pool is pool}:
            attempts.payloads.stop_waiting()
        await self._wait_while(lambda: self.running_in(pool) > 0, None)

    async def _wait_while(self, busy: Callable[[], bool], timeout_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while busy():
                    self._fewer.clear()
                    await self._fewer.wait()

    async def _claim(self, serving: Serving, room: int) -> _Taken:
        newest, claims = await self._ledger.claim(self._api, serving.claimant, count=room)
        self._queue_empty = len(claims) < room
        return _Taken(claims, newest if len(claims) < room else None)

    async def _reclaim(self, serving: Serving, room: int, *, expired: bool) -> _Taken:
        claims = await self._ledger.reclaim(
            self._api,
            serving.claimant,
            count=room,
            suspects=self._suspects_wanted(serving),
            held=self._held,
            expired=expired,
            own_lost=self._predecessor,
        )
        further = len(claims) == room  # then there may be further ones, and they come before the queue
        self._predecessor = self._predecessor and further
        if further:
            self._scan_at = 0.0
        return _Taken(claims, None)

    async def _take(self, serving: Serving, call: Coroutine[Any, Any, _Taken]) -> str | None:
        """Await `call`, start the attempts that it claimed, and return `newest` of its result.

        Starts them even if this task is cancelled. Otherwise their workloads would not run until the leases expire.
        """
        taking = asyncio.create_task(self._start_all(serving, call))
        try:
            newest = await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(LAST_CLAIM_S):
                    await taking
            raise
        self.pulse.worked()
        return newest

    async def _start_all(self, serving: Serving, call: Coroutine[Any, Any, _Taken]) -> str | None:
        taken = await call
        now = asyncio.get_running_loop().time()
        begun = [Attempt(claim, now) for claim in taken.claims]
        self._held.update((attempt.lease.id, (attempt, serving.attempts)) for attempt in begun)
        self._lines.begun(begun)
        serving.attempts.run(begun)
        return taken.newest

    def _suspects_wanted(self, serving: Serving) -> int:
        due = asyncio.get_running_loop().time() >= self._suspects_from
        return serving.attempts.pool.room_for_suspects if due else 0

    def _answered(self, attempt: Attempt) -> None:
        """Wake the poll loop, because there is room for another workload. After a suspect, search for the next suspect.

        If there is a single runner and the queue is not empty, delay the search by the time that the suspect took. The
        runner takes other workloads meanwhile.
        """
        self.wake()
        if not attempt.claim.suspect or self.serving is None:
            return
        if self._queue_empty or not self.serving.attempts.pool.single:
            self._scan_at_once()
        else:
            now = asyncio.get_running_loop().time()
            self._suspects_from = 2 * now - attempt.claimed_at
            self._scan_at = max(self._scan_at, min(self._suspects_from, now + SCAN_S))

    def _ended(self, attempt: Attempt, *, workload_ended: bool) -> None:
        held = self._held.get(attempt.lease.id)
        if held is not None and held[0] is attempt:
            del self._held[attempt.lease.id]
        self._fewer.set()
        if not workload_ended:
            self._scan_at_once()
        self.wake()

    async def _abandon(self, lease: Lease) -> None:
        """Stop the attempt of a lost lease, unless this worker has a later lease of the same workload by now.

        An attempt whose handler has returned is left alone: Redis refuses its outcome.
        """
        attempt, attempts = self._held.get(lease.id, (None, None))
        if attempt is not None and attempts is not None and attempt.lease == lease and not attempt.answered:
            log.warning(
                "lease lost before the handler returned: this attempt can no longer write an outcome",
                extra={"id": lease.id, "attempt": lease.attempt},
            )
            del self._held[lease.id]
            await attempts.drop(attempt)
