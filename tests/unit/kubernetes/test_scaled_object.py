"""The ScaledObject that KEDA gets for an API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from insula.kubernetes.scaled_object import behavior, scaled_object
from insula.project import ApiSpec
from insula.project.configuration.spec import Autoscaling, Handler

ADDRESS = "insula-results.ml:9001"


def rendered(scaling: Autoscaling) -> dict[str, Any]:
    spec = ApiSpec("greeter", "AsyncAPI", Handler("python", "handler.py"), autoscaling=scaling)
    return scaled_object(spec, deployment="api-greeter", labels={"insula/api": "greeter"}, scaler_address=ADDRESS)


def policies(percent: int, period_s: int) -> list[dict[str, Any]]:
    return [
        {"type": "Percent", "value": percent, "periodSeconds": period_s},
        {"type": "Pods", "value": 1, "periodSeconds": period_s},
    ]


def test_the_defaults_of_cortex_become_a_scaled_object() -> None:
    up = {"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": policies(50, 70)}
    down = {"stabilizationWindowSeconds": 300, "selectPolicy": "Max", "policies": policies(25, 310)}
    assert rendered(Autoscaling()) == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "api-greeter", "labels": {"insula/api": "greeter"}},
        "spec": {
            "scaleTargetRef": {"name": "api-greeter"},
            "minReplicaCount": 1,
            "maxReplicaCount": 100,
            "pollingInterval": 10,
            "cooldownPeriod": 360,
            "initialCooldownPeriod": 0,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": up, "scaleDown": down}}},
            "triggers": [
                {
                    "type": "external-push",
                    "metadata": {"scalerAddress": ADDRESS, "api": "greeter", "target": "1.0"},
                }
            ],
        },
    }


def test_replicas_and_target_are_those_of_the_api() -> None:
    spec = rendered(Autoscaling(min_replicas=0, max_replicas=7, target_replica_concurrency=0.25))["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 7)
    assert spec["triggers"][0]["metadata"]["target"] == "0.25"


@pytest.mark.parametrize(
    ("up", "down", "percents"),
    [
        (1.15, 0.7, (15, 30)),  # exact, although 1.15 - 1 is not in binary
        (1.337, 0.663, (33, 33)),
        (3, 0, (200, 100)),
    ],
)
def test_a_factor_becomes_a_whole_percentage_that_never_exceeds_it(
    up: float, down: float, percents: tuple[int, int]
) -> None:
    found = behavior(Autoscaling(max_upscale_factor=up, max_downscale_factor=down), tolerance=False)
    assert tuple(found[each]["policies"][0]["value"] for each in ("scaleUp", "scaleDown")) == percents


def test_the_largest_factor_is_the_largest_percentage_of_kubernetes() -> None:
    found = behavior(Autoscaling(max_upscale_factor=2**31 - 1), tolerance=False)
    assert found["scaleUp"]["policies"][0]["value"] == 2**31 - 1


def test_initial_replicas_of_an_api_that_may_go_to_zero_stay_for_the_cool_down() -> None:
    spec = rendered(Autoscaling(min_replicas=0, init_replicas=2))["spec"]
    assert (spec["minReplicaCount"], spec["initialCooldownPeriod"]) == (0, spec["cooldownPeriod"])


def test_a_step_of_less_than_one_percent_leaves_the_step_of_one_replica() -> None:
    """Such a step would be a policy of 0 %, which Kubernetes refuses. Only the policy of one replica is written."""
    found = behavior(Autoscaling(max_upscale_factor=1.005, max_downscale_factor=0.995), tolerance=False)
    for each in ("scaleUp", "scaleDown"):
        assert [policy["type"] for policy in found[each]["policies"]] == ["Pods"]


def test_periods_stay_within_the_limits_of_kubernetes() -> None:
    hours = Autoscaling(downscale_stabilization_period=timedelta(hours=3), upscale_stabilization_period=timedelta())
    found = behavior(hours, tolerance=False)
    assert found["scaleDown"]["stabilizationWindowSeconds"] == 3600
    assert found["scaleDown"]["policies"] == policies(25, 1800)
    assert found["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert found["scaleUp"]["policies"] == policies(50, 10)


def test_tolerances_are_rendered_only_for_a_cluster_that_knows_them() -> None:
    found = behavior(Autoscaling(upscale_tolerance=0.02), tolerance=True)
    assert (found["scaleUp"]["tolerance"], found["scaleDown"]["tolerance"]) == ("0.02", "0.05")
    assert "tolerance" not in behavior(Autoscaling(), tolerance=False)["scaleUp"]
