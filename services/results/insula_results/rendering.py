"""Renders a workload for clients: the JSON of `GET /<endpoint>/<id>`, and the protobuf message of gRPC calls."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from insula.ledger import Workload
from insula.v1 import workload_pb2

BYTES_BESIDES_RESULT: Final = 150
"""Approximate size of a workload's protobuf message without its result."""


def json_frame(workload: Workload, traceback: str = "") -> tuple[bytes, bytes]:
    """Return the JSON of a workload in two parts. The bytes of the result go between them, unchanged (invariant I8).

    It has "id" and "status". A completed workload also has "result" and "timestamp" (its end, ISO 8601 UTC). A failed
    workload also has "error", which contains `traceback` unless that is empty.
    """
    head: dict[str, object] = {"id": workload.id, "status": workload.status}
    if workload.failure is not None:
        error = {"reason": workload.failure.reason, "message": workload.failure.message}
        head["error"] = {**error, "traceback": traceback} if traceback else error
    text = json.dumps(head)
    if workload.result is None:
        return text.encode(), b""
    return f'{text[:-1]}, "result": '.encode(), f', "timestamp": "{_timestamp(workload.ended_ms or 0)}"}}'.encode()


def message(workload: Workload, result_json: bytes = b"", traceback: str = "") -> workload_pb2.Workload:
    """Return a workload as a protobuf message."""
    found = workload_pb2.Workload(
        id=workload.id,
        api=workload.api,
        status=workload.status,
        attempt=workload.attempt,
        version=workload.version,
        result_json=result_json,
    )
    found.submit_time.FromMilliseconds(workload.submitted_ms)
    if workload.started_ms is not None:
        found.start_time.FromMilliseconds(workload.started_ms)
    if workload.ended_ms is not None:
        found.end_time.FromMilliseconds(workload.ended_ms)
    if workload.failure is not None:
        found.failure.reason, found.failure.message = workload.failure.reason, workload.failure.message
        found.failure.traceback = traceback
    return found


def _timestamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
