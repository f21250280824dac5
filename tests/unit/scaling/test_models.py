"""The models of the autoscalers, on the examples of their documentation and on single steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from insula.kubernetes.scaled_object import behavior
from insula.project.configuration.spec import Autoscaling
from tests.autoscalers import Cortex, Hpa

AT_ONCE = Autoscaling(
    min_replicas=1,
    max_replicas=1000,
    upscale_stabilization_period=timedelta(0),
    downscale_stabilization_period=timedelta(0),
)


def hpa(replicas: int, rules: dict[str, Any]) -> Hpa:
    advanced = {"horizontalPodAutoscalerConfig": {"behavior": rules}}
    limits = {"minReplicaCount": 0, "maxReplicaCount": 1000, "cooldownPeriod": 30}
    return Hpa({**limits, "advanced": advanced}, replicas)


def test_the_hpa_takes_the_larger_of_two_policies() -> None:
    """Kubernetes' documentation has this example. 80 replicas shrink by 10 % a minute, and by 4 from 40 on."""
    policies = [
        {"type": "Pods", "value": 4, "periodSeconds": 60},
        {"type": "Percent", "value": 10, "periodSeconds": 60},
    ]
    rules = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": policies}
    scaler = hpa(80, {"scaleDown": rules, "scaleUp": rules})
    counts = [scaler.sync(minute * 60.0, 1, 1.0) for minute in range(12)]
    assert counts == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16]


def test_the_hpa_keeps_to_the_lowest_and_the_highest_recommendation_of_its_windows() -> None:
    scaler = hpa(10, behavior(Autoscaling(), tolerance=False))
    assert [scaler.sync(at_s, 30, 1.0) for at_s in (0.0, 15.0, 30.0, 45.0)] == [10] * 4
    assert scaler.sync(60.0, 30, 1.0) == 15, "60 s after the first recommendation, 10"
    assert scaler.sync(75.0, 30, 1.0) == 15, "the next step is due 70 s after the last one"
    assert [scaler.sync(at_s, 1, 1.0) for at_s in (90.0, 300.0, 374.0)] == [15] * 3
    assert scaler.sync(375.0, 1, 1.0) == 11, "300 s after the last recommendation of 30; 25 % of 15, rounded down"


def test_a_step_down_also_undoes_a_step_up_of_the_same_310_s() -> None:
    """For a step down, the HPA counts from the replicas before a step up of the last 310 s. So the step is larger."""
    scaler = hpa(10, behavior(Autoscaling(), tolerance=False))
    assert [scaler.sync(at_s, 30, 1.0) for at_s in (0.0, 60.0)] == [10, 15]
    assert [scaler.sync(at_s, 1, 1.0) for at_s in (75.0, 360.0)] == [15, 7]


def test_keda_wakes_at_once_and_stops_after_the_cool_down() -> None:
    scaler = hpa(0, behavior(Autoscaling(), tolerance=False))
    assert scaler.sync(0.0, 100, 1.0) == 0
    assert scaler.poll(1.0, active=True) == 1
    assert [scaler.poll(at_s, active=False) for at_s in (2.0, 31.0, 32.0)] == [1, 1, 0]


def test_cortex_keeps_to_one_step_and_its_stabilisation_periods() -> None:
    scaler = Cortex(Autoscaling(), replicas=10)
    ticks = [scaler.decide(at_s, 10) for at_s in (0.0, 10.0)] + [scaler.decide(20.0 + 10 * n, 30) for n in range(7)]
    assert ticks == [10] * 8 + [15], "one step of 1.5, once the lowest recommendation of 60 s is 15"
    assert [scaler.decide(90.0 + 10 * n, 1) for n in range(31)] == [15] * 30 + [12]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 40, 99, 500])
def test_one_step_up_is_the_same_and_one_step_down_at_most_one_replica_larger(count: int) -> None:
    rules = behavior(AT_ONCE, tolerance=True)
    assert hpa(count, rules).sync(0, 10_000, 1.0) == Cortex(AT_ONCE, count).decide(0, 10_000)
    down, cortex = hpa(count, rules).sync(0, 0, 1.0), Cortex(AT_ONCE, count).decide(0, 0)
    assert 0 <= cortex - down <= (0 if count < 5 else 1)


@pytest.mark.parametrize("share", [0.9, 0.94, 0.951, 1, 1.049, 1.06, 1.2])
def test_the_rendered_tolerance_is_that_of_cortex(share: float) -> None:
    scaling = replace(AT_ONCE, max_upscale_factor=10, max_downscale_factor=0)
    value = 100 * share
    with_it, without = (hpa(100, behavior(scaling, tolerance=given)).sync(0, value, 1.0) for given in (True, False))
    assert with_it == Cortex(scaling, 100).decide(0, value)
    assert (with_it == 100) == (0.95 < share < 1.05)
    assert (without == 100) == (0.9 <= share <= 1.1), "the cluster's tolerance, 10 %"
