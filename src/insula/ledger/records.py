"""What the ledger takes and gives: plain values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from insula.status import Status


@dataclass(frozen=True)
class Payload:
    """A payload as the queue carries it: inline bytes, or the key of an S3 object; exactly one is set."""

    content_type: str
    size_bytes: int
    inline: bytes | None = None
    object: str | None = None


@dataclass(frozen=True)
class Idempotency:
    """A client's Idempotency-Key, as the digest it is stored under, and the digest of the request it stands for."""

    key: str
    request: str


@dataclass(frozen=True)
class Accepted:
    """An accepted workload, and how many the API's queue holds with it."""

    id: str
    depth: int


@dataclass(frozen=True)
class Lease:
    """The right to run and to finish one attempt of a workload, until the lease runs out or is renewed."""

    api: str
    id: str
    attempt: int
    entry: str


@dataclass(frozen=True)
class Claim:
    """One attempt to run: its lease and all that the handler needs."""

    lease: Lease
    payload: Payload
    traceparent: str

    @classmethod
    def parse(cls, api: str, row: list[bytes | int]) -> Self:
        """From what start_attempt (library.lua) returns: id, attempt, entry id, then the entry's fields."""
        fields = {bytes(row[i]): bytes(row[i + 1]) for i in range(3, len(row), 2)}
        s3_key = fields[b"object"].decode()
        payload = Payload(
            content_type=fields[b"content_type"].decode(),
            size_bytes=int(fields[b"payload_bytes"]),
            inline=None if s3_key else fields[b"payload"],
            object=s3_key or None,
        )
        lease = Lease(api, _text(row[0]), int(row[1]), _text(row[2]))
        return cls(lease, payload, fields[b"traceparent"].decode())


@dataclass(frozen=True)
class Result:
    """A result: the JSON bytes of the handler's dictionary, inline or in S3; exactly one is set."""

    inline: bytes | None = None
    object: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why a workload failed: a stable upper-case word, and a sentence."""

    reason: str
    message: str


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
    def parse(cls, api: str, id: str, record: dict[bytes, bytes]) -> Self:
        """From the fields of the workload's hash."""

        def text(name: bytes) -> str:
            return record.get(name, b"").decode()

        def number(name: bytes) -> int | None:
            return int(record[name]) if name in record else None

        status = Status(text(b"status"))
        result = Result(record.get(b"result"), text(b"result_object") or None)
        return cls(
            api=api,
            id=id,
            status=status,
            attempt=number(b"attempt") or 0,
            version=text(b"version"),
            submitted_ms=number(b"submitted_ms") or 0,
            started_ms=number(b"started_ms"),
            ended_ms=number(b"ended_ms"),
            result=result if status is Status.COMPLETED else None,
            failure=Failure(text(b"failure_reason"), text(b"failure_message")) if status is Status.FAILED else None,
        )


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
