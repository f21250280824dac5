"""The stable words for why a workload failed."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """`error.reason` over HTTP, `Failure.reason` over gRPC. The Lua scripts and the runner use the same words.

    Callers must expect other words too, because a later version of Insula may add some.
    """

    HANDLER_ERROR = "HANDLER_ERROR"  # handle_async raised; the message is the exception's
    MEMORY_LIMIT = "MEMORY_LIMIT"  # the handler's processes went over compute.mem
    RESULT_INVALID = "RESULT_INVALID"  # the handler's result is not a dictionary, or not JSON-serializable
    RESULT_TOO_LARGE = "RESULT_TOO_LARGE"  # the result's JSON is over the limit
    PAYLOAD_INVALID = "PAYLOAD_INVALID"  # the payload does not match its Content-Type
    PAYLOAD_MISSING = "PAYLOAD_MISSING"  # S3 no longer has the payload
    PAYLOAD_UNREADABLE = "PAYLOAD_UNREADABLE"  # S3 answers, but did not return the payload; the payload is kept
    WORKER_LOST = "WORKER_LOST"  # max_deliveries attempts were lost with their worker or handler process
