"""The two lines that a worker logs for a workload: at its claim and at its completion. One call logs many workloads.

A line has the keys of any other log line of the worker. The keys that all lines of one call share are encoded once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Final

from insula_worker.attempts.attempt import Attempt
from insula_worker.logs.line import Line, line_fields
from insula_worker.runners.output import LineTaker
from insula_worker.runners.process import labels

log = logging.getLogger(__name__)

BEGUN: Final = "processing workload..."
COMPLETED: Final = "workload processing complete"


class WorkloadLines:
    """Logs the claims and completions of an API's workloads at the level INFO."""

    def __init__(self, taker: LineTaker, api: str) -> None:
        self._taker = taker
        self._labels = labels(api)

    def begun(self, attempts: Sequence[Attempt]) -> None:
        """Log that attempts were claimed."""
        self._put(BEGUN, [(attempt, f'"attempt": {attempt.lease.attempt}') for attempt in attempts])

    def completed(self, attempts: Sequence[tuple[Attempt, float]]) -> None:
        """Log that workloads are completed, with the handler's run time in seconds."""
        self._put(COMPLETED, [(attempt, f'"seconds": {round(seconds, 6)}') for attempt, seconds in attempts])

    def _put(self, message: str, attempts: Sequence[tuple[Attempt, str]]) -> None:
        if not attempts or not log.isEnabledFor(logging.INFO):
            return
        begin = json.dumps(line_fields(time.time(), "INFO", message, self._labels))[:-1]
        self._taker.put(
            [
                # Both ids have hexadecimal digits and dashes only.
                Line(id, f'{begin}, "id": "{id}", "traceId": "{attempt.trace_id}", {rest}}}'.encode("ascii"))
                for attempt, rest in attempts
                for id in (attempt.lease.id,)
            ]
        )
