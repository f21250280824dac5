"""Who is told what handlers print, measure and how their workloads end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insula.status import Status
from insula_worker.runners.messages import Metric
from insula_worker.runners.output import LineTaker


def _ignore_metric(metric: Metric) -> None:
    """Nobody asked."""


def _ignore_end(status: Status, handler_s: float) -> None:
    """Nobody asked."""


@dataclass(frozen=True)
class Observers:
    """Called on the event loop; none blocks or raises. Without `lines`, handlers print where the worker does."""

    lines: LineTaker | None = None
    metric: Callable[[Metric], None] = _ignore_metric
    ended: Callable[[Status, float], None] = _ignore_end
