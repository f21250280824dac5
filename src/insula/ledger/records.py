"""Arguments and results of the ledger: plain values.

Another version of Insula may have written the records that are parsed here. Missing fields have defaults. Unknown
fields are ignored here, and the scripts keep them (library.lua).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Self, cast

from insula.ids import made_ms
from insula.status import Status

RESULT: Final = "result"
OBJECT: Final = "object"
FAILURE: Final = "failure"
"""RESULT, OBJECT, FAILURE: the kinds of outcome in an ended record. OBJECT is the S3 key of a result."""
NOTHING: Final = "-"
"""An ended record has this in place of the start time and the version if its workload never started."""
MISSING: Final = (Status.FAILED, "0", "1", "0", NOTHING, "0", NOTHING, "none")
"""Defaults for words that are missing at the end of an ended record's first line."""
LIVE_FIELDS: Final = ("status", "attempt", "version", "submitted_ms", "started_ms")
"""The fields of a live workload's hash that a reader needs."""
OCTETS: Final = b"application/octet-stream"


class Payload(NamedTuple):
    """A payload: either its bytes (`inline`), or the key of an S3 object with them (`object`). Exactly one is set."""

    content_type: str
    size_bytes: int
    inline: bytes | None = None
    object: str | None = None


class Idempotency(NamedTuple):
    """The digest of a client's Idempotency-Key, and the digest of its request."""

    key: str
    request: str


class Submission(NamedTuple):
    """A workload to accept: its id, its payload, and its Idempotency-Key if it has one."""

    id: str
    payload: Payload
    idempotency: Idempotency | None = None


class Accepted(NamedTuple):
    """The id of an accepted workload, and the number of the API's workloads that wait or run after the submit."""

    id: str
    depth: int


class Lease(NamedTuple):
    """A worker's right to run and finish one attempt of a workload. `entry` is the id of the workload's queue entry."""

    api: str
    id: str
    attempt: int
    entry: str


class Claim(NamedTuple):
    """One started attempt: its lease, its payload and its trace.

    A `suspect` was in a process that ended while it ran several attempts. It has to run alone in a process.
    """

    lease: Lease
    payload: Payload
    traceparent: str
    suspect: bool = False

    @classmethod
    def parse(cls, api: str, row: list[bytes | int]) -> Self:
        """Parse the reply of start_attempt (library.lua): id, attempt, entry id, then the entry's fields."""
        fields = cast("dict[bytes, bytes]", dict(zip(row[3::2], row[4::2], strict=True)))
        inline, s3_key = fields.get(b"payload", b""), fields.get(b"object", b"").decode()
        payload = Payload(
            content_type=fields.get(b"content_type", OCTETS).decode(),
            size_bytes=int(fields.get(b"payload_bytes", len(inline))),
            inline=None if s3_key else inline,
            object=s3_key or None,
        )
        lease = Lease(api, _text(row[0]), int(row[1]), _text(row[2]))
        return cls(lease, payload, fields.get(b"traceparent", b"").decode(), b"suspect" in fields)


class Blame(Enum):
    """Whether an attempt may be the cause that its handler process ended. The values are those of requeue.lua."""

    NONE = 0  # no: the attempt did not begin, or the worker ended the process
    LOST = 1  # yes: the attempt ran alone in the process
    SUSPECT = 2  # perhaps: other attempts ran in the process; next time the workload runs alone


class Result(NamedTuple):
    """A result as JSON: either its bytes (`inline`), or the key of an S3 object (`object`). Exactly one is set."""

    inline: bytes | None = None
    object: str | None = None


class Failure(NamedTuple):
    """Why a workload failed: `reason` is a stable upper-case word, `message` a text for people.

    `traceback` is the end of the handler's traceback, at most 4 KiB; `traceback_object` is the S3 key of a longer one.
    Both are empty if there is none. Both are set if S3 did not confirm that it has the object.
    """

    reason: str
    message: str
    traceback: str = ""
    traceback_object: str = ""


@dataclass(frozen=True)
class Workload:
    """The record of one workload. Times are Unix milliseconds by Redis' clock."""

    api: str
    id: str
    status: Status
    attempt: int
    version: str
    submitted_ms: int
    started_ms: int | None
    ended_ms: int | None
    result: Result | None
    failure: Failure | None

    @classmethod
    def parse(cls, api: str, id: str, reply: bytes | list[bytes | None] | None) -> Self | None:
        """Parse the reply of read.lua about one workload; None if there is none."""
        if reply is None:
            return None
        return cls.parse_ended(api, id, reply) if isinstance(reply, bytes) else cls.parse_live(api, id, reply)

    @classmethod
    def parse_live(cls, api: str, id: str, record: Sequence[bytes | None]) -> Self | None:
        """Parse the values of LIVE_FIELDS in a live workload's hash. Returns None if all of them are missing."""
        if not any(record):
            return None
        status, attempt, version, submitted_ms, started_ms = record
        return cls(
            api=api,
            id=id,
            status=Status(status.decode()) if status else Status.IN_QUEUE,
            attempt=int(attempt or 0),
            version=(version or b"").decode(),
            submitted_ms=int(submitted_ms) if submitted_ms else made_ms(id),
            started_ms=int(started_ms) if started_ms else None,
            ended_ms=None,
            result=None,
            failure=None,
        )

    @classmethod
    def parse_ended(cls, api: str, id: str, record: bytes) -> Self:
        """Parse the string that end_workload (library.lua) writes: a line of words, then the outcome."""
        line, _, outcome = record.partition(b"\n")
        words = line.decode().split(" ", len(MISSING))
        words += MISSING[len(words) :]
        status, attempt, _, submitted_ms, started, ended, version, kind, *others = words
        return cls(
            api=api,
            id=id,
            status=Status(status),
            attempt=int(attempt),
            version="" if version == NOTHING else version,
            submitted_ms=int(submitted_ms),
            started_ms=None if started == NOTHING else int(submitted_ms) + int(started),
            ended_ms=int(submitted_ms) + int(ended),
            result=_result(kind, outcome),
            failure=_failure(outcome, others) if kind == FAILURE else None,
        )


def render(outcome: Result | Failure) -> tuple[str, str | bytes]:
    """Return the kind and the text of an outcome, in the form that finish.lua writes into the ended record."""
    match outcome:
        case Failure(reason=reason, message=message):
            return FAILURE, f"{reason} {message}"
        case Result(inline=bytes(inline)):
            return RESULT, inline
        case Result(object=s3_key):
            return OBJECT, s3_key or ""


def _result(kind: str, outcome: bytes) -> Result | None:
    if kind == RESULT:
        return Result(inline=outcome)
    return Result(object=outcome.decode()) if kind == OBJECT else None


def _failure(outcome: bytes, others: list[str]) -> Failure:
    reason, _, message = outcome.decode().partition(" ")
    fields = cast("dict[str, str]", json.loads(others[0])) if others and others[0].startswith("{") else {}
    return Failure(reason, message, fields.get("traceback", ""), fields.get("traceback_object", ""))


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
