"""The rendered NetworkPolicies allow the connections of one table, and no other connection."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from insula.project import read_project
from tests.unit.kubernetes.manifests import WORKLOADS, Object, overlay, rendered
from tests.unit.kubernetes.reachability import End, reaches
from tests.unit.project.entries import project

TWO = """\
- {name: a, kind: AsyncAPI, handler: {type: python, path: handler.py}}
- {name: b, kind: AsyncAPI, handler: {type: python, path: handler.py}}
"""
OUTSIDE = {
    "internet": End(address="93.184.216.34"),
    "internet over IPv6": End(address="2606:2800:220:1::1"),
    "machine's metadata": End(address="169.254.169.254"),
    "another machine": End(address="10.9.0.7"),
    "managed Redis": End(address="10.0.3.4"),
}
STRANGERS = {
    "KEDA": End({"app": "keda-operator"}, "keda"),
    "KEDA's impostor": End({"app": "keda-operator"}, "default"),
    "Prometheus": End({"insula/metrics-reader": "true"}, "monitoring"),
    "somebody's pod": End({"app": "web"}, "default"),
    "a pod beside": End({"app": "web"}),
    "a worker elsewhere": End(
        {"app.kubernetes.io/part-of": "insula", "app.kubernetes.io/component": "worker"}, "other"
    ),
}
PORTS = (53, 443, 6379, 8080, 8081, 8333, 8888, 9000, 9001, 9090, 18333)
WORKERS = ("a worker", "b worker")
ANYONE = (*OUTSIDE, *STRANGERS.keys() - {"a pod beside"})  # the namespace is for Insula: another pod in it is cut off


def expected(stores: set[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
    """Return all allowed connections as source, target and port, except those to DNS.

    `stores` are the connections to Redis and S3.
    """
    services = ("submit", "results")
    return (
        {(caller, "edge", 8080) for caller in ANYONE}
        | {("edge", service, 9000) for service in services}
        | {(worker, "edge", 8888) for worker in WORKERS}
        | {(f"{api} registration", "submit", 8081) for api in "ab"}
        | set(product(services, WORKERS, (8081,)))
        | {("Prometheus", read, 9090) for read in ("results", *WORKERS)}
        | {("KEDA", "results", 9001)}
        | set(product(WORKERS, ("internet", "internet over IPv6"), PORTS))
        | stores
    )


DEV = set(product(("submit", "results", *WORKERS), ("redis",), (6379,))) | set(
    product(("submit", "results", *WORKERS), ("s3",), (8333,))
)
PROD = set(product(("submit", "results", *WORKERS), ("managed Redis",), (443, 6379))) | {
    (service, "internet", 443) for service in ("submit", "results")
}


def ends(found: list[Object]) -> dict[str, End]:
    """Return each pod under the name of its API, if it has one, and of its component, as in `a worker`."""
    pods: dict[str, End] = {}
    for each in found:
        if each["kind"] in WORKLOADS:
            labels = each["spec"]["template"]["metadata"]["labels"]
            name = f"{labels.get('insula/api', '')} {labels['app.kubernetes.io/component']}".strip()
            pods[name] = End(labels, each["metadata"]["namespace"])
    return pods


@pytest.mark.parametrize(("name", "stores"), [("overlays/dev", DEV), ("overlays/prod", PROD)])
def test_who_reaches_whom(name: str, stores: set[tuple[str, str, int]], tmp_path: Path) -> None:
    """A handler shares the access of its worker. It cannot reach an admin service, another worker or metrics."""
    found = [*overlay(name), *rendered(read_project(project(tmp_path, {}, TWO)))]
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    inside = ends(found)
    everyone = inside | OUTSIDE | STRANGERS
    reached = {
        (source, target, port)
        for source, target, port in product(everyone, everyone, PORTS)
        if source != target and (source in inside or target in inside)
        if reaches(policies, everyone[source], everyone[target], port)
    }
    assert {each for each in reached if each[2] != 53} == {each for each in expected(stores) if each[2] != 53}


def test_every_pod_resolves_names_wherever_the_cluster_does_that(tmp_path: Path) -> None:
    found = [*overlay("overlays/dev"), *rendered(read_project(project(tmp_path, {}, TWO)))]
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    servers = (End({"k8s-app": "kube-dns"}, "kube-system"), End(address="169.254.20.10"))
    deaf = {
        name
        for name, pod in ends(found).items()
        if not all(reaches(policies, pod, server, 53, protocol) for server in servers for protocol in ("UDP", "TCP"))
    }
    assert deaf == {"redis", "s3"}  # they open no connection


def test_the_evaluator_knows_the_defaults() -> None:
    """No policy: everything is allowed. A policy without rules: nothing. A rule without peers: everyone."""
    web, other = End({"app": "web"}), End({"app": "other"})
    deny: Object = {"metadata": {"namespace": "insula"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    assert reaches([], web, other, 80)
    assert not reaches([deny], web, other, 80)
    allow: Object = {**deny, "spec": {**deny["spec"], "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}}
    assert reaches([deny, allow], web, other, 80)
    assert not reaches([deny, allow], web, other, 81)
    assert not reaches([deny, allow], web, other, 80, "UDP")
    named: Object = {
        **deny,
        "spec": {**deny["spec"], "ingress": [{"from": [{"podSelector": {"matchLabels": web.labels}}]}]},
    }
    assert reaches([deny, named], web, other, 80)
    assert not reaches([deny, named], End({"app": "web"}, "elsewhere"), other, 80)
