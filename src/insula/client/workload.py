"""A workload and its failure, as a client receives them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from insula.client.integers import with_any_integers
from insula.status import Status

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from insula.v1 import workload_pb2


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a workload failed. `reason` is a stable word such as HANDLER_ERROR; `message` is a sentence."""

    reason: str
    message: str


@dataclass(frozen=True)
class Workload:
    """The state of a workload at the time of the service's answer. Times are UTC, by Redis' clock."""

    id: str
    api: str
    status: Status
    # The number of attempts that have started.
    attempt: int
    # The version of the API that ran the latest attempt; empty before the first attempt.
    version: str
    submit_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    # The handler's result byte for byte; None unless the status is completed.
    result_json: bytes | None
    failure: Failure | None

    @property
    def ended(self) -> bool:
        """Whether the workload has ended; then it no longer changes."""
        return self.status.ended

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """The handler's dictionary, parsed at the first access; None unless the status is completed."""
        if self.result_json is None:
            return None
        parsed: dict[str, Any] = with_any_integers(partial(json.loads, self.result_json))
        return parsed


@dataclass(frozen=True)
class Submitted:
    """The answer to one payload of `submit_many`. `index` is the payload's position, from 0.

    `id` is the workload's. It is None if the payload was refused, or if it is unknown whether it was accepted. Then
    `error` is the exception that `submit` would raise.
    """

    index: int
    payload: Any
    id: str | None
    error: Exception | None


@dataclass(frozen=True)
class Outcome:
    """The outcome of one payload of `map`, or of one id of `results`. `index` is its position, from 0.

    `payload` is None in `results`. `id` is None if the payload was refused, or if it is unknown whether it was
    accepted. `workload` is None if its end is unknown. `error` is None if there is a result, else the error that `run`
    would raise.
    """

    index: int
    payload: Any
    id: str | None
    workload: Workload | None
    error: Exception | None

    def result(self) -> dict[str, Any]:
        """Return the handler's dictionary. Raises `error` if there is one."""
        if self.error is not None:
            raise self.error
        return cast("dict[str, Any]", cast("Workload", self.workload).result)


def parse_workload(message: workload_pb2.Workload) -> Workload:
    """Return the workload of a reply."""
    status = Status(message.status)
    return Workload(
        id=message.id,
        api=message.api,
        status=status,
        attempt=message.attempt,
        version=message.version,
        submit_time=_time(message.submit_time) if message.HasField("submit_time") else None,
        start_time=_time(message.start_time) if message.HasField("start_time") else None,
        end_time=_time(message.end_time) if message.HasField("end_time") else None,
        result_json=message.result_json if status is Status.COMPLETED else None,
        failure=Failure(message.failure.reason, message.failure.message) if message.HasField("failure") else None,
    )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
