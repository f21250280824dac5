"""Callbacks for the output and the metrics of handlers, and for the end of workloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insula.status import Status
from insula_worker.runners.messages import Metric
from insula_worker.runners.output import LineTaker


def _ignore_metric(metric: Metric) -> None:
    """Do nothing: metrics are disabled."""


def _ignore_end(status: Status, handler_s: float) -> None:
    """Do nothing: metrics are disabled."""


@dataclass(frozen=True)
class Observers:
    """Callbacks on the event loop. They must not block or raise.

    `lines` receives the handlers' output.
    """

    lines: LineTaker
    metric: Callable[[Metric], None] = _ignore_metric
    ended: Callable[[Status, float], None] = _ignore_end
