"""Writes the outcomes of attempts. Returns workloads without outcome to the queue. Records the start of suspects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, TypeVar

from insula.errors import LeaseLost, StoreUnavailable
from insula.ledger import Blame, Failure, Lease, Result, WorkloadLedger
from insula.ledger.damage import log_damage
from insula.reason import Reason
from insula.status import Status
from insula.stores.object_keys import result_object, traceback_object
from insula.stores.objects import ObjectStore
from insula.stores.redis_client import is_damage
from insula_worker.attempts.attempt import Attempt
from insula_worker.attempts.json_object import is_json_object
from insula_worker.attempts.workload_lines import WorkloadLines
from insula_worker.runners.messages import Completed, Failed, Outcome, Unfinished
from insula_worker.runners.observers import Observers

log = logging.getLogger(__name__)

RESULT_INLINE_BYTES_MAX: Final = 4 * 1024
"""Larger results go to S3, because ended records stay in Redis' memory for the whole retention."""
CHECKED_AT_ONCE_BYTES: Final = 64 * 1024
"""A longer result is checked in a thread. A shorter one is checked on the event loop, in 30 ms at most."""
NO_OBJECT: Final = "user response must be json serializable dictionary, got bytes that are not a JSON object instead"
STORE_RETRY_S: Final = 1.0
STORING_BYTES_MAX: Final = 256 * 1024 * 1024
"""The worker claims no workloads while results of this many bytes wait for S3. Results of workloads claimed earlier can
exceed this number."""
BATCH_MAX: Final = 256
"""Maximum number of outcomes in one call of the ledger. It limits the time for which the call blocks Redis."""
MESSAGE_CHARS_MAX: Final = 4096
TRACEBACK_BYTES_MAX: Final = 8 * 1024
"""A longer traceback is cut at its start, because its end holds the cause. The log has the whole traceback."""
TRACEBACK_INLINE_BYTES_MAX: Final = 4 * 1024
"""Longer tracebacks go to S3."""
Written = TypeVar("Written")


class _Ending(NamedTuple):
    """An attempt whose outcome waits to be written. `written` is the outcome in the form that the ledger writes."""

    attempt: Attempt
    outcome: Outcome
    written: Result | Failure


class AttemptEnded(Protocol):
    """Callback for the end of an attempt."""

    def __call__(self, attempt: Attempt, *, workload_ended: bool) -> None:
        """`workload_ended` is false if the workload is in the queue again, or another worker has its lease."""


class Outcomes:
    """Writes the outcomes of attempts. One call of the ledger writes all outcomes that wait, BATCH_MAX at most."""

    def __init__(
        self,
        ledger: WorkloadLedger,
        objects: ObjectStore,
        observers: Observers,
        lines: WorkloadLines,
        ended: AttemptEnded,
    ) -> None:
        """`ended` is called once for each attempt, at its end."""
        self.storing = 0
        """Number of attempts whose outcome is being checked, or written to S3, before the ledger gets it."""
        self._storing_bytes = 0
        self._ledger = ledger
        self._objects = objects
        self._observers = observers
        self._lines = lines
        self._ended = ended
        self._waiting: list[_Ending] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the outcomes that wait for S3 are so large that no further workload should begin."""
        return self._storing_bytes >= STORING_BYTES_MAX

    def take(self, attempt: Attempt, outcome: Outcome | Unfinished) -> None:
        """Write an attempt's outcome, or return its workload to the queue if it has none. Does not wait for the stores.

        Retries without a limit while a store is unavailable. If the workload's record is damaged, the attempt counts as
        lost. A workload that cannot return to the queue is left to `WorkloadLedger.reclaim`.
        """
        if isinstance(outcome, Unfinished):
            self._start(self._give_back(attempt, outcome))
            return
        try:
            written = _at_once(outcome)
        except Exception as error:  # noqa: BLE001 - the attempt is given back, and the error is logged
            self._fail(attempt, error)
            return
        if written is not None:
            self._add(_Ending(attempt, outcome, written))
        else:
            self._start(self._store(attempt, outcome))

    def begin(self, attempt: Attempt) -> None:
        """Record in Redis that the handler is called for a suspect now. Does not wait for Redis."""
        self._start(self._begin(attempt.lease))

    async def _begin(self, lease: Lease) -> None:
        with suppress(StoreUnavailable):  # then the loss of this worker does not count
            await self._ledger.begin(lease)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _add(self, ending: _Ending) -> None:
        self._waiting.append(ending)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._try_to_write(batch)
        finally:
            self._writer = None

    async def _try_to_write(self, batch: list[_Ending]) -> None:
        """Write a batch. After an unexpected error, write each outcome alone. If that fails, its attempt is lost."""
        try:
            await self._write(batch)
        except Exception as error:  # noqa: BLE001 - the attempts are given back, and the error is logged
            if len(batch) > 1:
                for ending in batch:
                    await self._try_to_write([ending])
                return
            self._fail(batch[0].attempt, error)

    def _fail(self, attempt: Attempt, error: Exception) -> None:
        if is_damage(error):
            log_damage(attempt.lease.api, attempt.lease.id, str(error))
            why = "its outcome could not be written"
        else:
            log.error(
                "unexpected error while the outcome was written: the attempt counts as lost",
                extra={"id": attempt.lease.id},
                exc_info=error,
            )
            why = f"the worker failed with {type(error).__name__}"
        self.take(attempt, Unfinished(why, Blame.LOST))

    async def _write(self, batch: list[_Ending]) -> None:
        """Write a batch to the ledger, log and count its outcomes, and end its attempts."""
        outcomes = [(ending.attempt.lease, ending.written) for ending in batch]
        lost = await _until_written(batch[0].attempt.lease, lambda: self._ledger.finish_all(outcomes))
        kept = [ending for ending in batch if ending.attempt.lease not in lost]
        self._lines.completed(
            [(ending.attempt, ending.outcome.handler_s) for ending in kept if isinstance(ending.outcome, Completed)]
        )
        for attempt, outcome, _ in kept:
            if isinstance(outcome, Failed):
                self._log_failure(attempt, outcome)
        self._observers.ended([(status_of(ending.outcome), ending.outcome.handler_s) for ending in kept])
        for ending in batch:
            self._clean_up(ending, lost=ending.attempt.lease in lost)
            self._ended(ending.attempt, workload_ended=ending.attempt.lease not in lost)

    def _log_failure(self, attempt: Attempt, failed: Failed) -> None:
        fields: dict[str, object] = {**attempt.fields, "seconds": round(failed.handler_s, 6)}
        fields |= {"reason": failed.reason, "error": failed.message[:MESSAGE_CHARS_MAX]}
        if failed.traceback:
            fields["traceback"] = failed.traceback
        log.error("failed to process workload", extra=fields)

    def _clean_up(self, ending: _Ending, *, lost: bool) -> None:
        """Delete the workload's payload from S3. Keep it if S3 could not return it.

        If the lease was lost, another attempt needs the payload: delete this attempt's result or traceback instead.
        """
        attempt, outcome, written = ending
        if lost:
            log.warning(
                "lease lost before the outcome was stored: the outcome of this attempt is dropped",
                extra={"id": attempt.lease.id, "attempt": attempt.lease.attempt},
            )
            key = _object_of(written)
        else:
            unreadable = isinstance(outcome, Failed) and outcome.reason == Reason.PAYLOAD_UNREADABLE
            key = None if unreadable else attempt.claim.payload.object
        if key:
            self._start(self._delete(key))

    async def _store(self, attempt: Attempt, outcome: Outcome) -> None:
        """Write a large result or traceback to S3, and then the outcome to the ledger."""
        size_bytes = len(outcome.result_json) if isinstance(outcome, Completed) else len(outcome.traceback)
        self.storing, self._storing_bytes = self.storing + 1, self._storing_bytes + size_bytes
        try:
            checked = await _checked(outcome)
            written = await _until_written(attempt.lease, lambda: self._store_once(attempt.lease, checked))
        except Exception as error:  # noqa: BLE001 - the attempt is given back, and the error is logged
            self._fail(attempt, error)
        else:
            stored = Completed(b"", checked.handler_s) if isinstance(checked, Completed) else checked
            self._add(_Ending(attempt, stored, written))
        finally:
            self.storing, self._storing_bytes = self.storing - 1, self._storing_bytes - size_bytes

    async def _store_once(self, lease: Lease, outcome: Outcome) -> Result | Failure:
        """Write the large part of an outcome to S3. Return the outcome in the form that the ledger writes.

        Raises StoreUnavailable if a result cannot be written. If a traceback cannot be written, its end goes to Redis.
        """
        if isinstance(outcome, Failed):
            return await self._store_failure(lease, outcome)
        key = result_object(lease.api, lease.id, lease.attempt)
        await self._objects.write(key, _once(outcome.result_json))
        return Result(object=key)

    async def _store_failure(self, lease: Lease, failed: Failed) -> Failure:
        at_once = failure_at_once(failed)
        if at_once is not None:
            return at_once
        message, traceback = failed.message[:MESSAGE_CHARS_MAX], end_of(failed.traceback, TRACEBACK_BYTES_MAX)
        key = traceback_object(lease.api, lease.id, lease.attempt)
        try:
            await self._objects.write(key, _once(traceback.encode()))
        except StoreUnavailable:
            # The key is kept: the object may exist despite the error, and must be deleted with the workload.
            return Failure(failed.reason, message, end_of(traceback, TRACEBACK_INLINE_BYTES_MAX), key)
        return Failure(failed.reason, message, traceback_object=key)

    async def _give_back(self, attempt: Attempt, unfinished: Unfinished) -> None:
        lease, why, blame = attempt.lease, unfinished.reason, unfinished.blame
        fields: dict[str, object] = {"id": lease.id, "attempt": lease.attempt}
        try:
            status = await _until_written(lease, lambda: self._ledger.requeue(lease, blame, why))
        except LeaseLost:
            self._ended(attempt, workload_ended=False)
            return
        except Exception as error:
            if not is_damage(error):  # which reclaim logs, because it takes the workload
                log.exception("unexpected error, workload not requeued: claimed again after its lease", extra=fields)
            self._ended(attempt, workload_ended=False)
            return
        if status is Status.FAILED:
            log.error("failed to process workload", extra={**fields, "reason": Reason.WORKER_LOST, "error": why})
        elif status is Status.CANCELLED:
            log.warning("workload cancelled because its API is deleted", extra=fields)
        else:
            counted = blame is Blame.LOST
            log.warning("workload requeued", extra={**fields, "error": why, "counts_as_lost_attempt": counted})
        self._ended(attempt, workload_ended=status.ended)

    async def _delete(self, key: str) -> None:
        with suppress(StoreUnavailable):
            await self._objects.delete(key)


def _at_once(outcome: Outcome) -> Result | Failure | None:
    """Return the outcome in the form that the ledger writes, or None if `_store` must check or store it first."""
    if isinstance(outcome, Failed):
        return failure_at_once(outcome)
    result = outcome.result_json
    return Result(inline=result) if len(result) <= RESULT_INLINE_BYTES_MAX and is_json_object(result) else None


def failure_at_once(failed: Failed) -> Failure | None:
    """Return the failure in the form that the ledger writes, or None if its traceback is too long for the record."""
    traceback = end_of(failed.traceback, TRACEBACK_BYTES_MAX)
    if len(traceback.encode()) > TRACEBACK_INLINE_BYTES_MAX:
        return None
    return Failure(failed.reason, failed.message[:MESSAGE_CHARS_MAX], traceback)


async def _until_written(lease: Lease, write: Callable[[], Awaitable[Written]]) -> Written:
    """Call `write`, and repeat it without a limit while a store is unavailable. The lease is renewed meanwhile.

    Raises StoreUnavailable if a record is damaged.
    """
    while True:
        try:
            return await write()
        except StoreUnavailable as error:
            if is_damage(error):
                raise
            log.warning("cannot store the end of an attempt, retrying", extra={"id": lease.id, "error": str(error)})
            await asyncio.sleep(STORE_RETRY_S)


async def _checked(outcome: Outcome) -> Outcome:
    """Return the outcome, or a failure if its result is not one JSON object.

    The runner's own check is not enough, because user code can write to the runner's socket.
    """
    if isinstance(outcome, Failed):
        return outcome
    result = outcome.result_json
    at_once = len(result) <= CHECKED_AT_ONCE_BYTES
    if is_json_object(result) if at_once else await asyncio.to_thread(is_json_object, result):
        return outcome
    return Failed(Reason.RESULT_INVALID, NO_OBJECT, traceback="", handler_s=outcome.handler_s)


def status_of(outcome: Outcome) -> Status:
    """Return the status with which a workload with this outcome ends."""
    return Status.COMPLETED if isinstance(outcome, Completed) else Status.FAILED


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _object_of(written: Result | Failure) -> str | None:
    """Return the S3 key of the outcome's result or traceback, or None if it has no object in S3."""
    return written.traceback_object if isinstance(written, Failure) else written.object


def end_of(text: str, bytes_max: int) -> str:
    """Return the end of the text, as many whole characters as fit into `bytes_max` > 0 bytes of UTF-8."""
    return text.encode()[-bytes_max:].decode("utf-8", "ignore")
