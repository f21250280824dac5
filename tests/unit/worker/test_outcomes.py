"""Outcomes that cannot be written do not hold up the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from insula.ledger import Blame, Claim, Failure, Lease, Payload, Result
from insula.status import Status
from insula.stores.redis_client import redis_errors
from insula_worker.attempts import outcomes as attempt_outcomes
from insula_worker.attempts.attempt import Attempt
from insula_worker.attempts.outcomes import Outcomes
from insula_worker.attempts.workload_lines import WorkloadLines
from insula_worker.runners.messages import Completed
from insula_worker.runners.observers import Observers
from tests.handler_output import Printed
from tests.waiting import until

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value script: 1f, on @user_script:187."


class Ledger:
    """A fake ledger. The record of the workload `damaged` is damaged: the scripts fail at it, as Redis reports it."""

    def __init__(self, *, gives_back: bool) -> None:
        self.written = list[str]()
        self.lost = list[tuple[str, str]]()
        self._gives_back = gives_back

    async def finish_all(self, outcomes: Sequence[tuple[Lease, Result | Failure]]) -> set[Lease]:
        with redis_errors():
            for lease, _ in outcomes:
                self._fail_at(lease)
        self.written += [lease.id for lease, _ in outcomes]
        return set()

    async def requeue(self, lease: Lease, blame: Blame, why: str) -> Status:
        assert blame is Blame.LOST
        self.lost.append((lease.id, why))
        with redis_errors():
            if not self._gives_back:
                self._fail_at(lease)
        return Status.IN_QUEUE

    def _fail_at(self, lease: Lease) -> None:
        if lease.id == "damaged":
            raise ResponseError(WRONG_TYPE)


def attempt_at(id: str) -> Attempt:
    return Attempt(Claim(Lease("echo", id, 1, "1-0"), Payload("text/plain", 1, inline=b"x"), ""), 0.0)


def outcomes_to(fake: Ledger, ended: list[tuple[str, bool]]) -> Outcomes:
    ledger: Any = fake
    objects: Any = None
    observers = Observers(Printed())

    def note(attempt: Attempt, *, workload_ended: bool) -> None:
        ended.append((attempt.lease.id, workload_ended))

    return Outcomes(ledger, objects, observers, WorkloadLines(observers.lines, "echo"), note)


@pytest.mark.parametrize("gives_back", [True, False])
async def test_a_damaged_record_does_not_hold_up_the_other_outcomes(
    caplog: pytest.LogCaptureFixture, *, gives_back: bool
) -> None:
    """The outcome for the damaged record counts as a lost attempt, and the damage is logged once."""
    fake, ended = Ledger(gives_back=gives_back), list[tuple[str, bool]]()
    outcomes = outcomes_to(fake, ended)
    for id in ("first", "damaged", "last"):
        outcomes.take(attempt_at(id), Completed(b"{}", 0.001))
    await until(lambda: len(ended) == 3, within_s=10)
    assert fake.written == ["first", "last"]
    assert sorted(ended) == [("damaged", False), ("first", True), ("last", True)]
    assert fake.lost == [("damaged", "its outcome could not be written")]
    [logged] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert vars(logged)["key"] == "insula:{echo}:workload:damaged"
    assert "WRONGTYPE" in vars(logged)["error"]


async def test_an_outcome_that_cannot_be_checked_is_given_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the check of an outcome raises an error, this is logged. The runner that sent the outcome is not ended."""

    def fail(_: bytes) -> bool:
        raise KeyError("id")

    monkeypatch.setattr(attempt_outcomes, "is_json_object", fail)
    fake, ended = Ledger(gives_back=True), list[tuple[str, bool]]()
    outcomes_to(fake, ended).take(attempt_at("first"), Completed(b"{}", 0.001))
    await until(lambda: ended == [("first", False)], within_s=10)
    assert fake.lost == [("first", "the worker failed with KeyError")]
    [logged] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.exc_info is not None
