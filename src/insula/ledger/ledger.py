"""The ledger: methods that read and change workloads in Redis. Each change of a workload is one atomic Lua script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from redis.asyncio import Redis

from insula.errors import ApiNotFound, IdempotencyConflict, InsulaError, LeaseLost, QueueFull, StoreUnavailable
from insula.keys import ApiKeys
from insula.ledger import scripts
from insula.ledger.coalescer import Coalescer
from insula.ledger.damage import log_damage
from insula.ledger.records import (
    LIVE_FIELDS,
    Accepted,
    Blame,
    Claim,
    Failure,
    Idempotency,
    Lease,
    Payload,
    Result,
    Submission,
    Workload,
    render,
)
from insula.ledger.replies import Done, Finished, Renewed, Requeued, Submitted, word
from insula.status import Status

_OPEN: Final = scripts.load("open")
_CLOSE: Final = scripts.load("close")
_SUBMIT: Final = scripts.load("submit")
_CLAIM: Final = scripts.load("claim")
_READ: Final = scripts.load("read")
_BEGIN: Final = scripts.load("begin")
_RENEW: Final = scripts.load("renew")
_FINISH: Final = scripts.load("finish")
_REQUEUE: Final = scripts.load("requeue")
_RECLAIM: Final = scripts.load("reclaim")
_CANCEL: Final = scripts.load("cancel")
_REOPEN: Final = scripts.load("reopen")

CLOSE_PAGE: Final = 500
"""Waiting workloads that `close` cancels in one round trip."""
SUBMISSIONS_MAX: Final = 256
"""Most workloads that one run of submit.lua accepts. Redis serves no other client meanwhile."""
READS_MAX: Final = 1000
"""Most workloads that one run of read.lua reads. Redis serves no other client meanwhile."""
IDEMPOTENCY_S: Final = 24 * 3600
"""How long an Idempotency-Key is remembered, unless the retention is shorter."""
UPLOAD_S: Final = 24 * 3600
"""How long an upload may take. After that the ledger refuses to commit it, and the sweeper deletes its object."""
UPLOAD_TOO_SLOW: Final = "the payload took too long to arrive and is no longer kept; send it again"
FULL_RETRY: Final = timedelta(seconds=5)
"""The Retry-After of a full queue."""


@dataclass(frozen=True)
class LedgerPolicy:
    """Limits that the scripts get as arguments. All processes of a stack must use the same limits.

    `max_deliveries` is the number of lost attempts after which a workload ends as failed.
    """

    lease: timedelta = timedelta(seconds=30)
    retention: timedelta = timedelta(days=7)
    max_deliveries: int = 3

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return int(self.lease.total_seconds() * 1000)

    @property
    def retention_s(self) -> int:
        """The retention in seconds."""
        return int(self.retention.total_seconds())


@dataclass(frozen=True)
class Claimant:
    """A worker that claims workloads: its name (unique while it runs), the version it runs, its admin address."""

    worker: str
    version: str
    address: str


class WorkloadLedger:
    """The queue and the records of all APIs in one Redis.

    Every method raises StoreUnavailable when Redis does not answer. Concurrent calls share one round trip.
    """

    def __init__(self, redis: Redis, policy: LedgerPolicy) -> None:
        self._commands = Coalescer(redis)
        self.policy: Final = policy
        self._remember_s: Final = min(IDEMPOTENCY_S, policy.retention_s)  # no longer than the workload is kept

    async def open(self, api: str) -> None:
        """Create the queue of `api`, with a consumer group that reads from the first entry. Safe to repeat."""
        await self._run(_OPEN, api)

    async def intend_upload(self, api: str, object: str) -> None:
        """Note in Redis that the S3 object with the key `object` will be written.

        `submit` removes the note. The sweeper deletes objects whose notes are older than UPLOAD_S.
        """
        seconds, _ = cast(tuple[bytes, bytes], await self._commands.execute("TIME"))
        await self._commands.execute("ZADD", ApiKeys(api).uploads, int(seconds) * 1000, object)

    async def withdraw_upload(self, api: str, object: str) -> None:
        """Remove the note of an upload. Call this after its S3 object is deleted."""
        await self._commands.execute("ZREM", ApiKeys(api).uploads, object)

    async def check_room(self, api: str, *, queue_limit: int) -> None:
        """Raise QueueFull if `queue_limit` workloads wait or run. So a payload can be refused before it is read."""
        if cast(int, await self._commands.execute("XLEN", ApiKeys(api).queue)) >= queue_limit:
            raise QueueFull(api, queue_limit, retry_after=FULL_RETRY)

    async def remembers(self, api: str, idempotency_key: str) -> bool:
        """Whether a workload was accepted with the Idempotency-Key of this digest in the last 24 h (IDEMPOTENCY_S)."""
        return await self._commands.execute("EXISTS", ApiKeys(api).idempotency(idempotency_key)) == 1

    async def submit(
        self,
        api: str,
        id: str,
        payload: Payload,
        *,
        queue_limit: int,
        traceparent: str = "",
        idempotency: Idempotency | None = None,
    ) -> Accepted:
        """Accept one workload, as `submit_many` does. An error that `submit_many` returns is raised here."""
        submission = Submission(id, payload, idempotency)
        [answer] = await self.submit_many(api, [submission], queue_limit=queue_limit, traceparent=traceparent)
        if isinstance(answer, Accepted):
            return answer
        raise answer

    async def submit_many(
        self, api: str, submissions: Sequence[Submission], *, queue_limit: int, traceparent: str = ""
    ) -> list[Accepted | InsulaError]:
        """Accept 1 to SUBMISSIONS_MAX workloads of one content type. Return an answer for each, in the same order.

        When this returns, the accepted workloads are on disk (invariant I1). Safe to repeat with the same ids.

        If a workload was accepted with the same `idempotency` within the last 24 h, the answer has its id, and nothing
        is stored. The answer is QueueFull if `queue_limit` workloads wait or run, ApiNotFound if the API was deleted,
        IdempotencyConflict if the key was used for another request, StoreUnavailable if an upload took too long.
        Raises StoreFull at Redis' memory limit; then nothing is stored.
        """
        arguments: list[str | bytes | int] = []
        for id, payload, idempotency in submissions:
            arguments += (id, payload.size_bytes, payload.inline or b"", payload.object or "")
            arguments += (ApiKeys(api).idempotency(idempotency.key), idempotency.request) if idempotency else ("", "")
        common = (queue_limit, submissions[0].payload.content_type, traceparent, self._remember_s, UPLOAD_S)
        depth, *answers = cast(list[bytes | int], await self._run(_SUBMIT, api, *common, *arguments))
        return [
            _submitted(api, submission.id, answer, int(depth), queue_limit)
            for submission, answer in zip(submissions, answers, strict=True)
        ]

    async def claim(self, api: str, claimant: Claimant, *, count: int) -> tuple[str, list[Claim]]:
        """Start up to `count` > 0 attempts on the oldest waiting workloads.

        Returns the id of the newest queue entry, for the doorbell, and the claims. With fewer than `count` claims, all
        entries up to that id have been claimed. After an error, Redis may have claims of this worker; `reclaim` finds
        them.
        """
        reply = await self._run(_CLAIM, api, claimant.worker, count, claimant.version, claimant.address)
        newest, *rows = cast(list[bytes], reply)
        return newest.decode(), [Claim.parse(api, cast(list[bytes | int], row)) for row in rows]

    async def begin(self, lease: Lease) -> None:
        """Store in the record of a suspect that the handler is called now. Safe to repeat.

        If the worker is lost before this is stored, the attempt does not count as lost.
        """
        await self._run(_BEGIN, lease.api, lease.id, lease.attempt)

    async def renew(self, worker: str, leases: Sequence[Lease]) -> list[Lease]:
        """Extend `leases` of one API by the lease length, by Redis' clock. Returns the leases that were lost."""
        triples = [value for lease in leases for value in (lease.id, lease.attempt, lease.entry)]
        replies = cast(list[object], await self._run(_RENEW, leases[0].api, worker, *triples))
        words = [word(Renewed, "renew", reply) for reply in replies]
        return [lease for lease, renewed in zip(leases, words, strict=True) if renewed is Renewed.LOST]

    async def finish(self, lease: Lease, outcome: Result | Failure) -> None:
        """End an attempt, exactly once (invariant I3). Safe to repeat.

        Raises LeaseLost if the workload has a later attempt, is back in the queue, or was cancelled. Then nothing is
        written.
        """
        if await self.finish_all([(lease, outcome)]):
            raise LeaseLost(lease.id, lease.attempt)

    async def finish_all(self, outcomes: Sequence[tuple[Lease, Result | Failure]]) -> set[Lease]:
        """End attempts at workloads of one API, as `finish` does. Returns the leases that were lost."""
        arguments: list[str | bytes | int] = []
        for lease, outcome in outcomes:
            status = Status.FAILED if isinstance(outcome, Failure) else Status.COMPLETED
            traceback = (outcome.traceback, outcome.traceback_object) if isinstance(outcome, Failure) else ("", "")
            arguments += (lease.id, lease.attempt, lease.entry, status, *render(outcome), *traceback)
        reply = await self._run(_FINISH, outcomes[0][0].api, self.policy.retention_s, *arguments)
        replies = cast(list[object], reply) if isinstance(reply, list) else [reply]
        words = [word(Finished, "finish", one) for one in replies]
        return {lease for (lease, _), one in zip(outcomes, words, strict=True) if one is Finished.LOST}

    async def requeue(self, lease: Lease, blame: Blame = Blame.NONE, why: str = "") -> Status:
        """Return an attempt's workload to the front of the queue. Safe to repeat.

        `why` is the reason as a sentence, required for Blame.LOST (invariant I5). After Blame.SUSPECT the workload runs
        alone in a process.

        Returns IN_QUEUE. Returns FAILED if the workload has now lost `max_deliveries` attempts; its failure message has
        `why` and the number of attempts. Returns CANCELLED if the API is deleted.
        Raises LeaseLost if the workload has a later attempt or has completed.
        """
        arguments = (lease.id, lease.attempt, lease.entry, blame.value, self.policy.max_deliveries)
        reply = await self._run(_REQUEUE, lease.api, *arguments, why, self.policy.retention_s)
        match word(Requeued, "requeue", reply):
            case Requeued.WAITS:
                return Status.IN_QUEUE
            case Requeued.FAILED:
                return Status.FAILED
            case Requeued.CANCELLED:
                return Status.CANCELLED
            case Requeued.LOST:
                raise LeaseLost(lease.id, lease.attempt)

    async def reclaim(
        self,
        api: str,
        claimant: Claimant,
        *,
        count: int,
        held: Collection[str],
        expired: bool,
        own_lost: bool,
        suspects: int = 1,
    ) -> list[Claim]:
        """Start up to `count` > 0 attempts on workloads that no worker runs, at most `suspects` of them on suspects.

        Such workloads were given back, or Redis has them under the claimant's name although they are not in `held`, the
        ids that the claimant runs. With `expired`, workloads of other workers are started too if their lease has
        expired.

        With `own_lost`, the attempts under the claimant's name that are not in `held` count as lost. Set it only after
        a restart of the worker process. If a lost worker had several attempts, their workloads become suspects. The
        attempt in which a workload becomes a suspect does not count as lost. Damaged records are logged and skipped.
        """
        lease_ms = self.policy.lease_ms if expired else 0
        who = (claimant.worker, count, claimant.version, claimant.address)
        limits = (lease_ms, int(own_lost), self.policy.max_deliveries, self.policy.retention_s, suspects)
        reply = await self._run(_RECLAIM, api, *who, *limits, *held)
        rows, damaged = cast(tuple[list[list[bytes | int]], list[tuple[bytes, bytes]]], reply)
        for id, error in damaged:
            log_damage(api, id.decode(), error.decode())
        return [Claim.parse(api, row) for row in rows]

    async def reopen(self, api: str) -> None:
        """Allow submits to `api` again after `close`. Safe to repeat."""
        await self._run(_REOPEN, api)

    async def close(self, api: str) -> int:
        """Refuse new workloads and cancel the waiting ones. Returns how many were cancelled. Running ones continue.

        Safe to repeat. No waiting workload is missed, because submits are refused before the first one is cancelled.
        """
        keys = ApiKeys(api)
        await self._run(_CLOSE, api)
        cancelled, start = 0, "-"
        while True:
            reply = await self._commands.execute("XRANGE", keys.queue, start, "+", "COUNT", CLOSE_PAGE)
            entries = cast(list[tuple[bytes, list[bytes]]], reply)
            ids = [fields[1].decode() for _, fields in entries]  # submit writes the id first
            retention_s = self.policy.retention_s
            replies = await asyncio.gather(*(self._run(_CANCEL, api, id, retention_s) for id in ids))
            cancelled += sum(word(Done, "cancel", one) is Done.NOW for one in replies)
            if len(entries) < CLOSE_PAGE:
                return cancelled
            start = f"({entries[-1][0].decode()}"

    async def read(self, api: str, id: str) -> Workload | None:
        """Return the record of a workload; None if it does not exist or its retention is over (invariant I9).

        Retention is measured by this machine's clock, not by Redis'. The difference is negligible against days.
        """
        keys = ApiKeys(api)
        # In this order: a workload that ends in between is read twice, never missed.
        live, ended = await self._commands.execute_all(
            ("HMGET", keys.workload(id), *LIVE_FIELDS), ("HGET", *keys.ended_bucket(id))
        )
        if ended is None:
            return Workload.parse_live(api, id, cast(list[bytes | None], live))
        workload = Workload.parse_ended(api, id, cast(bytes, ended))
        gone = workload.ended_ms is not None and workload.ended_ms / 1000 + self.policy.retention_s <= time.time()
        return None if gone else workload

    async def read_many(self, api: str, ids: Sequence[str]) -> list[Workload | None]:
        """Return the records of up to READS_MAX workloads, as `read` does for one."""
        replies = cast("list[bytes | list[bytes | None] | None]", await self._run(_READ, api, *ids))
        gone_ms = (time.time() - self.policy.retention_s) * 1000
        found = [Workload.parse(api, id, reply) for id, reply in zip(ids, replies, strict=True)]
        return [one if one and (one.ended_ms is None or one.ended_ms > gone_ms) else None for one in found]

    async def counts(self, api: str) -> dict[Status, int]:
        """Return the exact number of the API's workloads in each status, including ended ones until their deletion."""
        statuses = tuple(Status)
        reply = await self._commands.execute("HMGET", ApiKeys(api).counts, *statuses)
        return dict(zip(statuses, (int(number or 0) for number in cast(list[bytes | None], reply)), strict=True))

    async def _run(self, script: scripts.Script, api: str, *arguments: str | bytes | int) -> object:
        keys = ApiKeys(api)
        return await self._commands.evaluate(script, *keys.all, keys.prefix, *arguments, key_count=len(keys.all))


def _submitted(api: str, id: str, answer: bytes | int, depth: int, queue_limit: int) -> Accepted | InsulaError:
    """Convert submit.lua's answer about the workload `id`. `depth` is the number of workloads in the API's queue."""
    if isinstance(answer, bytes):
        return Accepted(answer.decode(), depth)
    match word(Submitted, "submit", answer):
        case Submitted.ACCEPTED:
            return Accepted(id, depth)
        case Submitted.QUEUE_FULL:
            return QueueFull(api, queue_limit, retry_after=FULL_RETRY)
        case Submitted.API_DELETED:
            return ApiNotFound(api)
        case Submitted.CONFLICT:
            return IdempotencyConflict(api)
        case Submitted.UPLOAD_GONE:
            return StoreUnavailable("S3", summary=UPLOAD_TOO_SLOW)
