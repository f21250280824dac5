"""The metrics of a worker: its workloads, its log, and the metrics that handlers push.

Handlers choose names and tags, so the number of metrics and of series is limited. Above the limits, new metrics are
dropped, and values with new tags go to one overflow series of their metric. This is logged once for each metric.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from insula.status import Status
from insula.telemetry.metrics import Instrument, Telemetry
from insula.telemetry.prometheus_text import handler_instrument, label_name, metric_name
from insula_worker.logs.worker_log import WorkerLog
from insula_worker.runners.messages import Metric
from insula_worker.runners.observers import Ended
from insula_worker.runners.process import labels

log = logging.getLogger(__name__)

ACTIVE: Final = Instrument("cortex_async_active", "{workload}", "Workloads whose handler is running.")
LATENCY: Final = Instrument(
    "cortex_async_latency",
    "s",
    "Run time of the handler, by the status with which the workload ended.",
    "histogram",
    ("status",),
)
REQUEST_COUNT: Final = Instrument(
    "cortex_async_request_count", "{workload}", "Workloads that ended here, by status.", "counter", ("status",)
)
LOG_LINES_DROPPED: Final = Instrument(
    "insula_log_lines_dropped", "{line}", "Log lines lost, by reason.", "counter", ("reason",)
)

METRICS_MAX: Final = 200
SERIES_MAX: Final = 1000
"""Maximum number of series of one metric. Values with further tags are recorded with the tags OVERFLOW."""
SERIES_IN_ALL_MAX: Final = 2000
TAG_CHARACTERS_MAX: Final = 200
COMPLAINTS_MAX: Final = 100
OVERFLOW: Final = {"otel_metric_overflow": "true"}
RESERVED_PREFIXES: Final = ("cortex_", "istio_", "insula_")
_SUFFIXES: Final = {"histogram": ("", "_bucket", "_sum", "_count")}


class WorkerMetrics:
    """The worker's own metrics: its running workloads, its ended workloads, and the log lines that it lost."""

    def __init__(self, telemetry: Telemetry, api: str, log: WorkerLog) -> None:
        self._of_api = {"api_name": api, "api_kind": labels(api)["apiKind"]}
        self._of_end = {status: {**self._of_api, "status": status.value} for status in Status}
        self._latency = telemetry.histogram(LATENCY)
        self._count = telemetry.counter(REQUEST_COUNT)
        self._telemetry = telemetry
        self._running: Callable[[], int] = int
        self._active = 0
        telemetry.observe(
            LOG_LINES_DROPPED,
            lambda: [
                (log.lines_too_long, {**self._of_api, "reason": "too_long"}),
                (log.lines_unread, {**self._of_api, "reason": "not_read"}),
            ],
        )

    def observe_active(self, running: Callable[[], int]) -> None:
        """Export the number of running workloads. `look` calls `running`, which returns the number."""
        self._running = running
        self._telemetry.observe(ACTIVE, lambda: [(self._active, self._of_api)])

    async def look(self) -> None:
        """Read the number of running workloads for the next scrape. Runs on the event loop."""
        self._active = self._running()

    def ended(self, ends: Sequence[Ended]) -> None:
        """Count workloads that ended on this worker, and record the run times of their handlers."""
        for status, number in Counter(status for status, _ in ends).items():
            self._count.add(number, self._of_end[status])
        for status, handler_s in ends:
            self._latency.record(handler_s, self._of_end[status])


class HandlerMetrics:
    """The metrics that handlers push. A metric is created when a handler pushes its first value."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._instruments: dict[str, tuple[str, Callable[[float, dict[str, str]], None]]] = {}
        self._taken: set[str] = set()
        self._series: dict[str, set[tuple[tuple[str, str], ...]]] = {}
        self._series_in_all = 0
        self._complaints: set[str] = set()

    def record(self, pushed: Metric) -> None:
        """Record a value that the handler pushed, or log why it is not recorded. Never raises.

        The runner's checks are repeated, because user code can write to the runner's socket.
        """
        name = metric_name(pushed.name)
        fault = self._fault(name, pushed)
        if fault:
            self._complain(name, "a metric was dropped (logged once for each metric)", fault)
            return
        _, record = self._instruments[name]
        tags = {label_name(key): value[:TAG_CHARACTERS_MAX] for key, value in pushed.tags.items()}
        record(pushed.value, self._bounded(name, tags))

    def _fault(self, name: str, pushed: Metric) -> str:
        """Return why the value cannot be recorded, or an empty text if it can. Create the metric if it is new."""
        if name.startswith(RESERVED_PREFIXES):
            return f"names starting with {', '.join(RESERVED_PREFIXES)} are reserved"
        if not math.isfinite(pushed.value) or (pushed.kind == "increment" and pushed.value < 0):
            return f"{pushed.value!r} is not a valid value for {pushed.kind}"
        if name not in self._instruments:
            return self._create(name, pushed.kind)
        kind, _ = self._instruments[name]
        return "" if kind == pushed.kind else f"it was first used with {kind}, now with {pushed.kind}"

    def _create(self, name: str, kind: str) -> str:
        exported = {f"{name}{suffix}" for suffix in _SUFFIXES.get(kind, ("",))}
        if len(self._instruments) >= METRICS_MAX:
            return f"this worker has {METRICS_MAX} metrics already, its limit"
        if exported & self._taken:
            return "another metric exports a series of that name"
        instrument = Instrument(handler_instrument(name), "", f"Pushed by the handler with {kind}.")
        match kind:
            case "increment":
                self._instruments[name] = kind, self._telemetry.counter(instrument).add
            case "gauge":
                self._instruments[name] = kind, self._telemetry.gauge(instrument).set
            case "histogram":
                self._instruments[name] = kind, self._telemetry.histogram(instrument).record
            case _:
                return f"{kind!r} is not a kind of metric"
        self._taken |= exported
        return ""

    def _bounded(self, name: str, tags: dict[str, str]) -> dict[str, str]:
        """Return the tags, or OVERFLOW if a new series with these tags would exceed a limit."""
        series = tuple(sorted(tags.items()))
        known = self._series.setdefault(name, set())
        if series in known:
            return tags
        if len(known) >= SERIES_MAX or self._series_in_all >= SERIES_IN_ALL_MAX:
            fault = f"it has too many different tags (limits: {SERIES_MAX}, in all {SERIES_IN_ALL_MAX})"
            self._complain(name, "a metric was recorded without its tags (logged once for each metric)", fault)
            return OVERFLOW
        known.add(series)
        self._series_in_all += 1
        return tags

    def _complain(self, name: str, message: str, fault: str) -> None:
        if name not in self._complaints and len(self._complaints) < COMPLAINTS_MAX:
            self._complaints.add(name)
            log.warning(message, extra={"metric": name, "reason": fault})
