"""Rules for all pods: no unneeded privileges, no secrets in manifests, but limits, probes and versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, cast

import pytest
import yaml

from tests.unit.house.tree import ROOT
from tests.unit.kubernetes.manifests import WORKLOADS, Object, every, of_folder, only, overlay, pods

VERSIONED = re.compile(r"[^\s@]+(:(?!latest$)[\w][-.\w]*|@sha256:[0-9a-f]{64})")


def get(value: Any, path: str) -> Any:
    """Return the value at a dotted path; None if there is none."""
    for key in path.split("."):
        value = cast("Object", value).get(key) if isinstance(value, dict) else None
    return value


def _containers(template: Object) -> Iterator[Object]:
    spec = template["spec"]
    yield from (*spec["containers"], *spec.get("initContainers", ()), *spec.get("ephemeralContainers", ()))


def _all(test: Callable[[Object], bool]) -> Callable[[Object], bool]:
    return lambda template: all(test(each) for each in _containers(template))


def _has_resources(container: Object) -> bool:
    resources = container.get("resources", {})
    return all(resources.get(kind, {}).get(name) for kind in ("requests", "limits") for name in ("cpu", "memory"))


def _has_probes(template: Object) -> bool:
    ends = template["spec"].get("restartPolicy", "Always") != "Always"  # a Job
    return ends or all(each.get("livenessProbe") and each.get("readinessProbe") for each in _containers(template))


def _writes_no_secret(container: Object) -> bool:
    """Return whether no environment variable for a secret has its value in the manifest."""
    secret = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY$")
    return not any(
        secret.search(each["name"]) and "value" in each and not each["name"].endswith("_FILE")
        for each in container.get("env", ())
    )


RULES: dict[str, Callable[[Object], bool]] = {
    "runs as an ordinary user": lambda pod: (
        get(pod, "spec.securityContext.runAsNonRoot") is True and get(pod, "spec.securityContext.runAsUser") > 0
    ),
    "has the seccomp profile of the container runtime": lambda pod: (
        get(pod, "spec.securityContext.seccompProfile.type") == "RuntimeDefault"
    ),
    "has no token of a service account": lambda pod: get(pod, "spec.automountServiceAccountToken") is False,
    "has an account of its own": lambda pod: get(pod, "spec.serviceAccountName") not in {None, "default"},
    "shares no namespace and no folder of the node": lambda pod: (
        not any(pod["spec"].get(each) for each in ("hostNetwork", "hostPID", "hostIPC"))
        and not any("hostPath" in each for each in pod["spec"].get("volumes", ()))
    ),
    "cannot gain privileges": _all(
        lambda each: (
            get(each, "securityContext.allowPrivilegeEscalation") is False
            and not get(each, "securityContext.privileged")
        )
    ),
    "has no capability": _all(
        lambda each: (
            get(each, "securityContext.capabilities.drop") == ["ALL"]
            and not get(each, "securityContext.capabilities.add")
        )
    ),
    "cannot write to its image": _all(lambda each: get(each, "securityContext.readOnlyRootFilesystem") is True),
    "has a version of its image": _all(lambda each: bool(VERSIONED.fullmatch(each["image"]))),
    "has requests and limits": _all(_has_resources),
    "has probes": _has_probes,
    "opens no port of the node": _all(lambda each: not any("hostPort" in port for port in each.get("ports", ()))),
    "has no secret in its manifest": _all(_writes_no_secret),
    "gets no addresses of other services as variables": lambda pod: get(pod, "spec.enableServiceLinks") is False,
}


@pytest.mark.parametrize("rule", RULES)
def test_every_pod(rule: str) -> None:
    assert [name for name, template in pods() if not RULES[rule](template)] == []


BAD = """\
spec:
  hostNetwork: true
  restartPolicy: Always
  securityContext: {runAsUser: 0}
  volumes: [{name: node, hostPath: {path: /}}]
  containers:
  - name: bad
    image: registry.example.com:5000/bad
    env: [{name: INSULA_ADMIN_TOKEN, value: secret}]
    ports: [{containerPort: 1, hostPort: 1}]
    securityContext: {privileged: true, capabilities: {add: [SYS_ADMIN], drop: [ALL]}}
    resources: {requests: {cpu: 1, memory: 1Gi}}
    readinessProbe: {exec: {command: ["true"]}}
"""


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_refuses_a_careless_pod(rule: str) -> None:
    """Each rule finds its fault in a pod that breaks all rules."""
    assert not RULES[rule](yaml.safe_load(BAD))


@pytest.mark.parametrize("image", ["insula-worker", "insula-worker:latest", "registry:5000/worker"])
def test_an_image_without_a_version_is_refused(image: str) -> None:
    assert not VERSIONED.fullmatch(image)


def test_no_object_holds_a_secret() -> None:
    assert [each["metadata"]["name"] for _, each in every() if each["kind"] == "Secret"] == []


def test_our_images_have_the_version_of_the_distribution() -> None:
    """The image tags in k8s are the version of the Python distribution, also after a release."""
    images = {each["image"] for _, pod in pods() for each in pod["spec"]["containers"]}
    ours = {image.rpartition("/")[2] for image in images if "insula-" in image}
    assert {image.partition(":")[2] for image in ours} == {version("insula")}
    labels = {
        each["metadata"]["labels"]["app.kubernetes.io/version"]
        for each in overlay("base")
        if "labels" in each["metadata"]
    }
    assert labels == {version("insula")}


def test_every_deployment_has_a_disruption_budget_and_spreads_its_replicas() -> None:
    for name in ("base", "overlays/dev", "overlays/prod"):
        deployments = [each for each in overlay(name) if each["kind"] == "Deployment"]
        budgets = {each["metadata"]["name"] for each in overlay(name) if each["kind"] == "PodDisruptionBudget"}
        assert {each["metadata"]["name"] for each in deployments} == budgets
        keys = [
            [each["topologyKey"] for each in one["spec"]["template"]["spec"]["topologySpreadConstraints"]]
            for one in deployments
        ]
        assert keys == [["kubernetes.io/hostname", "topology.kubernetes.io/zone"]] * len(deployments)


def test_every_selector_finds_its_pods() -> None:
    """A selector with a wrong label makes a Service without addresses, which no schema finds."""
    everything = [*overlay("overlays/dev"), *of_folder("tests/projects/my-classifier")]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in everything if each["kind"] in WORKLOADS]
    for each in everything:
        spec: Object = each.get("spec", {})
        wanted: Object = spec.get("selector") or spec.get("podSelector") or {}
        exact: Object = wanted.get("matchLabels", {} if "matchExpressions" in wanted else wanted)
        assert any(exact.items() <= one.items() for one in labels), each["metadata"]["name"]


def test_redis_being_unavailable_fails_readiness_and_never_liveness() -> None:
    """The health service `liveness` does not look at Redis (invariant I12)."""
    worker = only(of_folder("examples/language-identifier"), "Deployment")["spec"]["template"]
    services = [each["spec"]["template"] for each in overlay("base") if each["kind"] == "Deployment"]
    probed = [one for pod in (worker, *services) for one in pod["spec"]["containers"] if "grpc" in one["livenessProbe"]]
    assert len(probed) == 3
    for each in probed:
        assert (each["livenessProbe"]["grpc"]["service"], each["startupProbe"]["grpc"]["service"]) == ("liveness",) * 2
        assert "service" not in each["readinessProbe"]["grpc"]


def test_the_folder_has_no_other_file_of_kubernetes() -> None:
    """Each file is part of an overlay, so each was checked."""
    named = {f"{path.parent.name}/{path.name}" for path in (ROOT / "k8s").rglob("*.yaml")}
    listed = {
        f"{path.parent.name}/{file}"
        for path in (ROOT / "k8s").rglob("kustomization.yaml")
        for file in ("kustomization.yaml", *yaml.safe_load(path.read_text(encoding="utf-8"))["resources"])
    }
    assert named <= listed
