"""KEDA accepts every ScaledObject: the fields of its CustomResourceDefinition, and the rules of its webhook."""

from __future__ import annotations

from typing import Any, Final

import pytest

from insula.project import read_project
from tests.unit.house.tree import ROOT
from tests.unit.kubernetes.manifests import PROJECTS, Object, of_folder, rendered

POLICY: Final = {"periodSeconds": int, "type": str, "value": int}
RULES: Final = {"policies": [POLICY], "selectPolicy": str, "stabilizationWindowSeconds": int, "tolerance": str}
SPEC: Final[Object] = {
    "advanced": {
        "horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": RULES, "scaleUp": RULES}, "name": str},
        "restoreToOriginalReplicaCount": bool,
        "scalingModifiers": {"activationTarget": str, "formula": str, "metricType": str, "target": str},
    },
    "cooldownPeriod": int,
    "fallback": {"behavior": str, "failureThreshold": int, "replicas": int},
    "idleReplicaCount": int,
    "initialCooldownPeriod": int,
    "maxReplicaCount": int,
    "minReplicaCount": int,
    "pollingInterval": int,
    "scaleTargetRef": {"apiVersion": str, "envSourceContainerName": str, "kind": str, "name": str},
    "triggers": [
        {
            "authenticationRef": {"kind": str, "name": str},
            "metadata": {str: str},
            "metricType": str,
            "name": str,
            "type": str,
            "useCachedMetrics": bool,
        }
    ],
}
"""The fields of a ScaledObject's spec in KEDA 2.19, each with its type; {str: str} is a map with any keys."""


def strange(value: Any, wanted: Any, place: str = "spec") -> list[str]:
    """Return each place whose field is unknown or whose value has another type."""
    match wanted:
        case dict() if str in wanted:
            return [f"{place}.{key}" for key, member in value.items() if type(member) is not str]
        case dict():
            unknown = [f"{place}.{key}" for key in value.keys() - wanted.keys()]
            known = (strange(value[key], wanted[key], f"{place}.{key}") for key in value.keys() & wanted.keys())
            return sum(known, unknown)
        case [each]:
            return sum((strange(item, each, f"{place}[]") for item in value), list[str]())
        case _:
            return [] if type(value) is wanted else [place]


def scaled(found: Any) -> list[Object]:
    return [each["spec"] for each in found if each["kind"] == "ScaledObject"]


@pytest.mark.parametrize("folder", PROJECTS)
def test_keda_knows_every_field(folder: str) -> None:
    found = of_folder(folder)
    assert scaled(found)
    assert sum(map(strange, scaled(found), [SPEC] * len(found)), list[str]()) == []


def test_the_tolerances_are_fields_too() -> None:
    (spec,) = scaled(rendered(read_project(ROOT / "examples/language-identifier"), tolerance=True))
    assert strange(spec, SPEC) == []
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"]["tolerance"] == "0.05"


@pytest.mark.parametrize("folder", PROJECTS)
def test_the_webhook_of_keda_accepts_the_numbers(folder: str) -> None:
    """The webhook checks as the HPA does: periods of 1 s to 30 min, values above 0, stabilisation up to an hour."""
    for spec in scaled(of_folder(folder)):
        assert 0 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
        for rules in spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"].values():
            assert 0 <= rules["stabilizationWindowSeconds"] <= 3600
            for policy in rules["policies"]:
                assert policy["type"] in {"Percent", "Pods"}
                assert 0 < policy["value"] < 2**31
                assert 0 < policy["periodSeconds"] <= 1800


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"minReplicas": 1}, ["spec.minReplicas"]),
        ({"cooldownPeriod": "300"}, ["spec.cooldownPeriod"]),
        ({"triggers": [{"type": "external-push", "metadata": {"target": 1}}]}, ["spec.triggers[].target"]),
        ({"advanced": {"behavior": {}}}, ["spec.advanced.behavior"]),
    ],
)
def test_an_unknown_field_or_type_is_found(change: Object, place: list[str]) -> None:
    """`strange`, the check of the other tests, finds a wrong field and a wrong type."""
    (spec,) = scaled(of_folder("examples/language-identifier"))
    assert [each.replace(".metadata", "") for each in strange({**spec, **change}, SPEC)] == place
