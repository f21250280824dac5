"""The limits on the metrics that handlers push, and the names of these metrics."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from insula.telemetry.metrics import Telemetry
from insula.telemetry.prometheus_text import label_name, metric_name
from insula_worker.metrics import METRICS_MAX, SERIES_IN_ALL_MAX, SERIES_MAX, HandlerMetrics
from insula_worker.runners.messages import Metric


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def metrics(telemetry: Telemetry) -> HandlerMetrics:
    return HandlerMetrics(telemetry)


def samples(telemetry: Telemetry) -> list[str]:
    return [line for line in telemetry.render().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    ("name", "exported"), [("a.b-c d", "a_b_c_d"), ("1st", "_1st"), ("é", "_"), ("ns:x", "ns_x"), ("", "_")]
)
def test_names_are_made_valid(name: str, exported: str) -> None:
    assert metric_name(name) == exported


@pytest.mark.parametrize(
    ("name", "exported"), [("a.b", "a_b"), ("le", "tag_le"), ("__name__", "tag_name"), ("1", "tag_1"), ("", "tag_")]
)
def test_labels_are_made_valid(name: str, exported: str) -> None:
    assert label_name(name) == exported


def test_further_series_of_a_metric_go_into_one_overflow_series(telemetry: Telemetry, metrics: HandlerMetrics) -> None:
    for user in range(SERIES_MAX + 50):
        metrics.record(Metric("increment", "seen", 1, {"user": str(user)}))
        metrics.record(Metric("increment", "seen", 1, {"user": "0"}))
    found = samples(telemetry)
    assert len(found) == SERIES_MAX + 1
    assert 'seen{otel_metric_overflow="true"} 50' in found
    assert f'seen{{user="0"}} {SERIES_MAX + 51}' in found


def test_series_of_all_metrics_together_are_limited(telemetry: Telemetry, metrics: HandlerMetrics) -> None:
    for number in range(2 * SERIES_IN_ALL_MAX):
        metrics.record(Metric("gauge", f"depth{number % 20}", 1, {"user": str(number)}))
    assert len(samples(telemetry)) <= SERIES_IN_ALL_MAX + 20


@pytest.mark.parametrize("kind", ["gauge", "increment", "histogram"])
@pytest.mark.parametrize(("name", "exported"), [("_hits", "_hits"), ("0day", "_0day"), ("é", "_"), ("ns:x", "ns_x")])
def test_a_name_that_only_opentelemetry_refuses_is_exported(
    telemetry: Telemetry, metrics: HandlerMetrics, kind: str, name: str, exported: str
) -> None:
    metrics.record(Metric(kind, name, 2, {}))
    assert f"# TYPE {exported} {kind.replace('increment', 'counter')}" in telemetry.render().splitlines()
    assert samples(telemetry)[-1].startswith(exported)


def test_the_number_of_metrics_is_limited(telemetry: Telemetry, metrics: HandlerMetrics) -> None:
    for number in range(METRICS_MAX + 10):
        metrics.record(Metric("gauge", f"depth{number}", 1, {}))
    assert len(samples(telemetry)) == METRICS_MAX


@pytest.mark.parametrize(
    ("pushed", "reason"),
    [
        (Metric("gauge", "cortex.depth", 1, {}), "reserved"),
        (Metric("gauge", "seen", 1, {}), "first used with increment, now with gauge"),
        (Metric("gauge", "took_count", 1, {}), "another metric exports a series of that name"),
        (Metric("gauge", "x", float("inf"), {}), "inf is not a valid value"),
        (Metric("increment", "seen", -1, {}), "-1 is not a valid value"),
        (Metric("odd", "x", 1, {}), "'odd' is not a kind"),
    ],
)
def test_a_refused_metric_is_logged_once(
    metrics: HandlerMetrics, caplog: pytest.LogCaptureFixture, pushed: Metric, reason: str
) -> None:
    metrics.record(Metric("increment", "seen", 1, {}))
    metrics.record(Metric("histogram", "took", 1, {}))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            metrics.record(pushed)
    (record,) = caplog.records
    assert reason in cast(str, vars(record)["reason"])
