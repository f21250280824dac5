"""The attempts of one release: each gets its payload, goes to a runner, and ends with an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Final

from insula.ledger import Blame
from insula.reason import Reason
from insula.stores.objects import ObjectNotFound
from insula_worker.attempts.attempt import Attempt
from insula_worker.attempts.outcomes import Outcomes
from insula_worker.attempts.payloads import HeldBytes, Payloads, PayloadUnreadable, WaitEnded
from insula_worker.runners.messages import Failed, Job, Outcome, Unfinished
from insula_worker.runners.pool import RunnerPool

log = logging.getLogger(__name__)

LEASE_LOST: Final = "its lease is lost"


class Attempts:
    """Runs claimed workloads in the runners of one release."""

    def __init__(
        self,
        pool: RunnerPool,
        payloads: Payloads,
        held_bytes: HeldBytes,
        outcomes: Outcomes,
        answered: Callable[[Attempt], None],
    ) -> None:
        """`answered` is called when an attempt needs no runner any more, after `outcomes` has received its outcome."""
        self.pool: Final = pool
        self.payloads: Final = payloads
        self._held_bytes = held_bytes
        self._outcomes = outcomes
        self._answered = answered
        self._reading: dict[Attempt, asyncio.Task[None]] = {}
        self._jobs: dict[Attempt, Job] = {}

    @property
    def room(self) -> int:
        """Number of workloads to claim now. Attempts that wait for S3, WAITING_MAX at most, do not reduce it."""
        return self.pool.room - (len(self._reading) - self.payloads.aside)

    def run(self, attempts: Sequence[Attempt]) -> None:
        """Give the attempts to the runners. A payload in S3 is read before its attempt is given."""
        jobs: list[Job] = []
        for attempt in attempts:
            inline = attempt.claim.payload.inline
            if inline is None:
                task = asyncio.create_task(self._run_with_file(attempt), name=attempt.lease.id)
                self._reading[attempt] = task
            else:
                jobs.append(self._job(attempt, inline, partial(self._end, attempt)))
        self.pool.give(jobs)

    def _job(self, attempt: Attempt, payload: bytes | IO[bytes], ended: Callable[[Outcome | Unfinished], None]) -> Job:
        claim = attempt.claim
        id, content_type = claim.lease.id, claim.payload.content_type
        begins = partial(self._outcomes.begin, attempt) if claim.suspect else None
        job = self._jobs[attempt] = Job(id, attempt.trace_id, content_type, payload, claim.suspect, ended, begins)
        return job

    async def _run_with_file(self, attempt: Attempt) -> None:
        payload = attempt.claim.payload
        outcome: Outcome | Unfinished
        try:
            async with self._held_bytes.hold(payload.size_bytes):
                with await self.payloads.read(attempt.lease.id, payload.object or "", payload.size_bytes) as file:
                    outcome = await self._outcome_of(attempt, file)
        except ObjectNotFound:
            outcome = Failed(Reason.PAYLOAD_MISSING, "the payload is no longer stored", traceback="", handler_s=0.0)
        except PayloadUnreadable as error:
            outcome = Failed(Reason.PAYLOAD_UNREADABLE, str(error), traceback="", handler_s=0.0)
        except WaitEnded:
            outcome = Unfinished("not started because its payload is unavailable; it is in the queue again")
        except Exception as error:
            log.exception("unexpected error in the worker: the attempt counts as lost", extra={"id": attempt.lease.id})
            outcome = Unfinished(f"the worker failed with {type(error).__name__}", Blame.LOST)
        finally:
            self._reading.pop(attempt, None)
        self._end(attempt, outcome)

    async def _outcome_of(self, attempt: Attempt, file: IO[bytes]) -> Outcome | Unfinished:
        ended: asyncio.Future[Outcome | Unfinished] = asyncio.get_running_loop().create_future()
        job = self._job(attempt, file, ended.set_result)
        del self._reading[attempt]
        self.pool.give([job])
        return await ended

    def _end(self, attempt: Attempt, outcome: Outcome | Unfinished) -> None:
        self._jobs.pop(attempt, None)
        attempt.answered = True
        self._outcomes.take(attempt, outcome)
        self._answered(attempt)

    def stop_reading(self, because: str) -> None:
        """Stop the attempts whose payloads are being read from S3. Their workloads return to the queue.

        `because` is logged.
        """
        reading, self._reading = self._reading, {}
        for attempt, task in reading.items():
            task.cancel()
            self._end(attempt, Unfinished(because))

    async def drop(self, attempt: Attempt) -> None:
        """Stop an attempt whose lease is lost, unless it has begun in a process that also runs other attempts."""
        if (task := self._reading.pop(attempt, None)) is not None:
            task.cancel()
            self._end(attempt, Unfinished(LEASE_LOST))
        elif (job := self._jobs.get(attempt)) is not None:
            await self.pool.drop(job, LEASE_LOST)
