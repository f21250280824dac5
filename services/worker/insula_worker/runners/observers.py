"""Callbacks for the output and the metrics of handlers, and for the end of workloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from insula.status import Status
from insula_worker.runners.messages import Metric
from insula_worker.runners.output import LineTaker

Ended = tuple[Status, float]
"""The status of a workload that ended, and the handler's run time in seconds."""


def _ignore_metric(metric: Metric) -> None:
    """Do nothing: metrics are disabled."""


def _ignore_ends(ends: Sequence[Ended]) -> None:
    """Do nothing: metrics are disabled."""


@dataclass(frozen=True)
class Observers:
    """Callbacks on the event loop. They must not block or raise.

    `lines` receives the handlers' output and the worker's own lines about workloads. `metric` receives each metric that
    a handler pushes. `ended` receives the workloads that ended on this worker.
    """

    lines: LineTaker
    metric: Callable[[Metric], None] = _ignore_metric
    ended: Callable[[Sequence[Ended]], None] = _ignore_ends
