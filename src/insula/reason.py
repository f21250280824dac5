"""Why a workload failed: the words that callers branch on."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """`error.reason` over HTTP, `Failure.reason` over gRPC. Lua scripts and the handler's side use the same words.

    A caller must expect others: a later version of Insula may add some.
    """

    HANDLER_ERROR = "HANDLER_ERROR"  # handle_async raised; the message is the exception's
    MEMORY_LIMIT = "MEMORY_LIMIT"  # the handler's processes went over compute.mem
    RESULT_INVALID = "RESULT_INVALID"  # the handler did not return a dictionary that JSON can hold
    RESULT_TOO_LARGE = "RESULT_TOO_LARGE"  # its JSON is over the limit
    PAYLOAD_INVALID = "PAYLOAD_INVALID"  # the payload is not what its Content-Type says
    PAYLOAD_MISSING = "PAYLOAD_MISSING"  # S3 no longer has the payload
    PAYLOAD_UNREADABLE = "PAYLOAD_UNREADABLE"  # S3 answers, but did not return the payload; the payload is kept
    WORKER_LOST = "WORKER_LOST"  # max_deliveries attempts ended with their worker or handler process
