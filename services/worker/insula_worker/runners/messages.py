"""Typed messages between the worker and a runner. Jobs go to the runner; outcomes and metrics come back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from insula.ledger import Blame
from insula.reason import Reason
from insula_runner.frames import Frame, Header, encode_frame

RUNNER_REASONS: Final[frozenset[str]] = frozenset(
    {Reason.HANDLER_ERROR, Reason.PAYLOAD_INVALID, Reason.RESULT_INVALID, Reason.RESULT_TOO_LARGE}
)
"""Reasons that a runner may send. The worker and the ledger set all other reasons."""


@dataclass(slots=True, eq=False)
class Job:
    """One attempt for a runner. `ended` is called once, with the attempt's outcome or with Unfinished.

    `id` and `trace_id` mark the handler's output during this job. Each has no spaces and 200 characters at most.
    `payload` is the bytes, or a file that has only the payload. A `suspect` runs alone in its process; `begins` is
    called when the suspect is given to the process, because it begins at once.
    `given_at` is set when the job is given to a runner, in seconds by the event loop's clock.
    """

    id: str
    trace_id: str
    content_type: str
    payload: bytes | IO[bytes]
    suspect: bool
    ended: Callable[[Outcome | Unfinished], None]
    begins: Callable[[], None] | None = None
    given_at: float = 0.0


def encode_job(number: int, job: Job, direct_hosts: Sequence[str]) -> tuple[bytes, int | None]:
    """Return the message of a job for the job queue, and the descriptor of its payload's file.

    The descriptor is None if the message has the payload.

    `direct_hosts` are hosts that the runner's process reaches without a proxy from this job on.
    """
    header: Header = {"type": "job", "job": number, "id": job.id, "trace_id": job.trace_id}
    header["content_type"] = job.content_type
    if direct_hosts:
        header["direct_hosts"] = direct_hosts
    if isinstance(job.payload, bytes):
        return encode_frame(header, job.payload), None
    return encode_frame(header), job.payload.fileno()


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned a dictionary. `result_json` is its JSON; `handler_s` is the handler's run time in seconds.

    User code runs in the process that sent both values. `handler_s` was checked: it is finite and not negative.
    `result_json` was not checked.
    """

    result_json: bytes
    handler_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The workload failed, and it is not retried.

    `reason` is one of RUNNER_REASONS, or a reason set by the supervisor. Only HANDLER_ERROR has a traceback.
    """

    reason: str
    message: str
    traceback: str
    handler_s: float


Outcome = Completed | Failed


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An attempt without an outcome. `reason` is the text for the log, such as "its lease is lost".

    If `blame` is LOST, the attempt counts as lost. If it is SUSPECT, the workload becomes a suspect.
    """

    reason: str
    blame: Blame = Blame.NONE


@dataclass(frozen=True, slots=True)
class Metric:
    """One value from the handler's metrics client. `kind` is gauge, increment or histogram."""

    kind: str
    name: str
    value: float
    tags: dict[str, str]


def read_outcome(frame: Frame) -> Outcome:
    """Read a "result" or "failure" frame. If malformed, raises Key-, Type-, Value-, Overflow- or RecursionError."""
    handler_s, reason = float(frame.header["handler_s"]), frame.header.get("reason")
    if not (math.isfinite(handler_s) and handler_s >= 0):
        raise ValueError(f"handler_s must be a finite number of seconds, not negative (got {handler_s})")
    if frame.type == "result":
        return Completed(frame.body, handler_s)
    if reason not in RUNNER_REASONS:
        raise ValueError(f"{reason!r} is not a reason")
    failure: dict[str, Any] = json.loads(frame.body)
    return Failed(reason, storable(failure["message"]), storable(failure["traceback"]), handler_s)


def storable(text: object) -> str:
    """Return the text with each lone surrogate escaped, because Redis and protobuf refuse lone surrogates."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def read_metric(header: Header) -> Metric:
    """Read the header of a "metric" frame. Raises KeyError, TypeError or ValueError if it is malformed."""
    tags = cast("dict[object, object]", dict(header["tags"]))
    checked = {str(key): str(value) for key, value in tags.items()}
    return Metric(str(header["kind"]), str(header["name"]), float(header["value"]), checked)
