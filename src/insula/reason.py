"""The stable words that name the reasons why a workload failed."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a workload failed: `error.reason` over HTTP, `Failure.reason` over gRPC.

    The Lua scripts and the runner use the same words. Callers must expect other words too, because a later version of
    Insula may add some.
    """

    HANDLER_ERROR = "HANDLER_ERROR"  # handle_async raised an exception; the message has its type and text
    MEMORY_LIMIT = "MEMORY_LIMIT"  # the handler's processes went over compute.mem
    RESULT_INVALID = "RESULT_INVALID"  # the handler did not return a dictionary that JSON can hold
    RESULT_TOO_LARGE = "RESULT_TOO_LARGE"  # the result has more than 64 MiB of JSON
    PAYLOAD_INVALID = "PAYLOAD_INVALID"  # the payload is not what its Content-Type says
    PAYLOAD_MISSING = "PAYLOAD_MISSING"  # S3 no longer has the payload
    PAYLOAD_UNREADABLE = "PAYLOAD_UNREADABLE"  # S3 answers, but did not return the payload; the payload is kept
    WORKER_LOST = "WORKER_LOST"  # three attempts were lost: their worker or handler process ended
