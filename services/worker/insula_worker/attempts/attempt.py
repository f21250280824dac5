"""One attempt, from claim to end: reads the payload, runs the handler, writes the outcome to the ledger."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import Final, TypeVar

from insula.errors import LeaseLost, StoreUnavailable
from insula.ledger import Claim, Failure, Lease, Payload, Result, WorkloadLedger
from insula.reason import Reason
from insula.status import Status
from insula.stores.object_keys import result_object, traceback_object
from insula.stores.objects import CHUNK_BYTES, ObjectNotFound, ObjectStore
from insula_worker.attempts.json_object import is_json_object
from insula_worker.attempts.payloads import Patience, Payloads, PayloadUnreadable, WaitEnded
from insula_worker.runners.messages import Completed, Failed, Job
from insula_worker.runners.slot import AttemptLost, RunnerSlot

log = logging.getLogger(__name__)

RESULT_INLINE_BYTES_MAX: Final = 4 * 1024
"""Larger results go to S3: ended records stay in Redis' memory for the whole retention."""
CHECKED_AT_ONCE_BYTES: Final = 64 * 1024
"""A longer result is checked in a thread. A shorter one is checked on the event loop, in 30 ms at most."""
NO_OBJECT: Final = "user response must be json serializable dictionary, got bytes that are not a JSON object instead"
STORE_RETRY_S: Final = 1.0
PATIENCE_S: Final = 1.0
"""How long a job may wait for the job before it. After that it is given back, so that another worker can run it."""
MESSAGE_CHARS_MAX: Final = 4096
TRACEBACK_BYTES_MAX: Final = 8 * 1024
"""A longer traceback is cut at its start, because its end holds the cause. The log has the whole traceback."""
TRACEBACK_INLINE_BYTES_MAX: Final = 4 * 1024
"""Longer tracebacks go to S3."""
Written = TypeVar("Written")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Attempts:
    """Runs claimed workloads.

    When `run` returns, the workload has ended, is in the queue again, or is claimed by another worker.
    """

    def __init__(
        self,
        ledger: WorkloadLedger,
        objects: ObjectStore,
        slot: RunnerSlot,
        ended: Callable[[Status, float], None],
        changed: Callable[[], None],
        patience: Patience,
    ) -> None:
        """`ended` is called with the status and the handler's run time in seconds of each workload that ended here.

        `changed` is called when an attempt begins to wait for its payload.
        """
        self.payloads: Final = Payloads(objects, changed, patience)
        self.writing: Final[set[Lease]] = set()
        """The attempts whose handler has returned. Do not cancel them: S3 may be storing a result, and if its lease is
        lost, the attempt deletes it."""
        self._ledger = ledger
        self._objects = objects
        self._slot = slot
        self._ended = ended

    async def run(self, claim: Claim) -> float | None:
        """Run one claim. Return the handler's run time in seconds, or None if the attempt has no outcome."""
        lease = claim.lease
        log.info("processing workload...", extra={**_fields(claim), "attempt": lease.attempt})
        try:
            outcome = await _checked(await self._execute(claim))
            self.writing.add(lease)
            await self._finish(claim, outcome)
        except LeaseLost:
            log.warning("lease lost", extra={"id": lease.id, "attempt": lease.attempt})
            return None
        except AttemptLost as lost:
            await self._give_back(lease, str(lost), blamed=lost.begun)
            return None
        except WaitEnded:
            await self._give_back(
                lease, "not started because its payload is unavailable; it is in the queue again", blamed=False
            )
            return None
        except Exception as error:
            log.exception("unexpected error in an attempt", extra={"id": lease.id})
            await self._give_back(lease, f"the worker failed with {type(error).__name__}", blamed=True)
            return None
        finally:
            self.writing.discard(lease)
        return outcome.handler_s

    async def _execute(self, claim: Claim) -> Completed | Failed:
        payload = claim.payload
        if payload.object is None:
            job = Job(claim.lease.id, payload.content_type, payload.inline or b"", payload.size_bytes, _trace_id(claim))
            return await self._slot.run(job, patience_s=PATIENCE_S)
        try:
            spool = await self.payloads.read(claim.lease.id, payload.object)
        except ObjectNotFound:
            return Failed(Reason.PAYLOAD_MISSING, "the payload is no longer stored", traceback="", handler_s=0.0)
        except PayloadUnreadable as error:
            return Failed(Reason.PAYLOAD_UNREADABLE, str(error), traceback="", handler_s=0.0)
        with spool:
            job = Job(claim.lease.id, payload.content_type, _chunks(spool), payload.size_bytes, _trace_id(claim))
            return await self._slot.run(job, patience_s=PATIENCE_S)

    async def _finish(self, claim: Claim, outcome: Completed | Failed) -> None:
        """Write the outcome to the ledger, and delete the payload. Raises LeaseLost."""
        lease = claim.lease
        written = await _until_written(lease, lambda: self._store(lease, outcome))
        try:
            await _until_written(lease, lambda: self._ledger.finish(lease, written))
        except LeaseLost:
            if key := _object_of(written):
                await self._delete(key)
            raise
        self._tell(claim, outcome)
        if isinstance(outcome, Completed) or outcome.reason != Reason.PAYLOAD_UNREADABLE:
            await self._drop_payload(claim.payload)

    def _tell(self, claim: Claim, outcome: Completed | Failed) -> None:
        fields: dict[str, object] = {**_fields(claim), "seconds": round(outcome.handler_s, 6)}
        if isinstance(outcome, Completed):
            log.info("workload processing complete", extra=fields)
            self._ended(Status.COMPLETED, outcome.handler_s)
            return
        fields |= {"reason": outcome.reason, "error": outcome.message[:MESSAGE_CHARS_MAX]}
        if outcome.traceback:
            fields["traceback"] = outcome.traceback
        log.error("failed to process workload", extra=fields)
        self._ended(Status.FAILED, outcome.handler_s)

    async def _store(self, lease: Lease, outcome: Completed | Failed) -> Result | Failure:
        """Write a large result or traceback to S3. Return the values for the workload's record.

        Raises StoreUnavailable if S3 does not take a result. If it does not take a traceback, the record keeps its end.
        """
        if isinstance(outcome, Failed):
            return await self._store_failure(lease, outcome)
        if len(outcome.result_json) <= RESULT_INLINE_BYTES_MAX:
            return Result(inline=outcome.result_json)
        key = result_object(lease.api, lease.id, lease.attempt)
        await self._objects.write(key, _once(outcome.result_json))
        return Result(object=key)

    async def _store_failure(self, lease: Lease, failed: Failed) -> Failure:
        """Write a long traceback to S3. If S3 is unavailable, the record keeps the end of the traceback instead."""
        message, traceback = failed.message[:MESSAGE_CHARS_MAX], end_of(failed.traceback, TRACEBACK_BYTES_MAX)
        short = end_of(traceback, TRACEBACK_INLINE_BYTES_MAX)
        if short == traceback:
            return Failure(failed.reason, message, traceback)
        key = traceback_object(lease.api, lease.id, lease.attempt)
        try:
            await self._objects.write(key, _once(traceback.encode()))
        except StoreUnavailable:
            # The key is kept: the object may exist despite the error, and must be deleted with the workload.
            return Failure(failed.reason, message, short, key)
        return Failure(failed.reason, message, traceback_object=key)

    async def _give_back(self, lease: Lease, why: str, *, blamed: bool) -> None:
        fields: dict[str, object] = {"id": lease.id, "attempt": lease.attempt}
        try:
            status = await _until_written(lease, lambda: self._ledger.requeue(lease, lost=why if blamed else None))
        except LeaseLost:
            return
        if status is Status.FAILED:
            log.error("failed to process workload", extra={**fields, "reason": Reason.WORKER_LOST, "error": why})
        elif status is Status.CANCELLED:
            log.warning("workload cancelled because its API is deleted", extra=fields)
        else:
            log.warning("workload requeued", extra={**fields, "error": why, "delivery_counted": blamed})

    async def _drop_payload(self, payload: Payload) -> None:
        if payload.object is not None:
            await self._delete(payload.object)

    async def _delete(self, key: str) -> None:
        with suppress(StoreUnavailable):
            await self._objects.delete(key)


async def _until_written(lease: Lease, write: Callable[[], Awaitable[Written]]) -> Written:
    """Call `write` until it does not raise StoreUnavailable, without a limit. The lease is renewed meanwhile."""
    while True:
        try:
            return await write()
        except StoreUnavailable as error:
            log.warning("outcome not written, will retry", extra={"id": lease.id, "error": str(error)})
            await asyncio.sleep(STORE_RETRY_S)


async def _checked(outcome: Completed | Failed) -> Completed | Failed:
    """Return the outcome, or a failure if its result is not one JSON object.

    The runner's own check is not enough, because user code can write to its socket.
    """
    if isinstance(outcome, Failed):
        return outcome
    result = outcome.result_json
    at_once = len(result) <= CHECKED_AT_ONCE_BYTES
    if is_json_object(result) if at_once else await asyncio.to_thread(is_json_object, result):
        return outcome
    return Failed(Reason.RESULT_INVALID, NO_OBJECT, traceback="", handler_s=outcome.handler_s)


def _fields(claim: Claim) -> dict[str, object]:
    return {"id": claim.lease.id, "traceId": _trace_id(claim)}


def _trace_id(claim: Claim) -> str:
    """Return the client's trace id. Without one, return the workload's id, which has as many digits."""
    found = _TRACEPARENT.match(claim.traceparent)  # from the client's header, so it may be malformed
    return found[1] if found else claim.lease.id.replace("-", "")


async def _chunks(spool: SpooledTemporaryFile[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(spool.read, CHUNK_BYTES):
        yield chunk


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _object_of(written: Result | Failure) -> str | None:
    """Return the S3 key in an outcome, or None."""
    return written.traceback_object if isinstance(written, Failure) else written.object


def end_of(text: str, bytes_max: int) -> str:
    """Return the end of the text, as many whole characters as fit into `bytes_max` > 0 bytes of UTF-8."""
    return text.encode()[-bytes_max:].decode("utf-8", "ignore")
