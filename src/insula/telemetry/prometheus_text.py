"""OpenTelemetry's metrics in Prometheus' text format 0.0.4."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricsData

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")
_HANDLERS: Final = "handler."
_NOT_IN_LABELS: Final = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(name: str) -> str:
    """Return a valid Prometheus name: "_" replaces invalid characters and ":", and precedes a digit at the start."""
    made = _NOT_IN_NAMES.sub("_", name)
    return f"_{made}" if made[:1].isdigit() or not made else made


def handler_instrument(name: str) -> str:
    """Return the OpenTelemetry name of a handler's metric. The prefix makes sure that it starts with a letter."""
    return f"{_HANDLERS}{name}"


def label_name(name: str) -> str:
    """Return a valid label name. "tag_" is put before names that Prometheus reserves or refuses, such as "le"."""
    made = _NOT_IN_LABELS.sub("_", name)
    if made == "le" or made[:1].isdigit() or not made.strip("_") or made.startswith("__"):
        return f"tag_{made.strip('_')}"
    return made


def render(data: MetricsData) -> str:
    """Return the metrics as text. Their names and labels must be valid already."""
    metrics = (metric for of in data.resource_metrics for scope in of.scope_metrics for metric in scope.metrics)
    return "".join(f"{line}\n" for metric in metrics for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, NumberDataPoint, Sum

    data = metric.data
    kind = "histogram" if isinstance(data, Histogram) else "gauge"
    if isinstance(data, Sum) and data.is_monotonic:
        kind = "counter"
    name = metric.name.removeprefix(_HANDLERS)
    yield f"# HELP {name} {_escaped(metric.description or '')}"
    yield f"# TYPE {name} {kind}"
    for point in data.data_points:
        labels = {str(name): str(value) for name, value in (point.attributes or {}).items()}
        if isinstance(point, HistogramDataPoint):
            yield from _histogram(name, labels, point)
        elif isinstance(point, NumberDataPoint):
            yield f"{name}{_braces(labels)} {point.value!r}"


def _histogram(name: str, labels: Mapping[str, str], point: HistogramDataPoint) -> Iterator[str]:
    total = 0
    for bound, count in zip((*point.explicit_bounds, "+Inf"), point.bucket_counts, strict=True):
        total += count
        yield f"{name}_bucket{_braces({**labels, 'le': str(bound)})} {total}"
    yield f"{name}_sum{_braces(labels)} {point.sum!r}"
    yield f"{name}_count{_braces(labels)} {point.count}"


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    made = text.replace("\\", r"\\").replace("\n", r"\n")
    return made.replace('"', r"\"") if quotes else made
