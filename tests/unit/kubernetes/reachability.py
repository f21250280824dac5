"""Evaluates NetworkPolicies as Kubernetes defines them: who may open a connection to whom.

A pod that no policy selects for a direction is open in it. Otherwise a connection needs one rule of one of these
policies. Both ends must allow it. Replies to an allowed connection always pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final

Object = dict[str, Any]
FIELDS: Final = {"egress", "ingress", "podSelector", "policyTypes"}


@dataclass(frozen=True)
class End:
    """A pod with its labels and its namespace, or a host outside of the cluster with its address."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    namespace: str = "insula"
    address: str = ""

    @property
    def namespace_labels(self) -> Mapping[str, str]:
        return {"kubernetes.io/metadata.name": self.namespace}


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels. An empty one selects all."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    terms = selector.get("matchExpressions", [])
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(_holds(term, labels.get(term["key"])) for term in terms)


def _holds(term: Object, value: str | None) -> bool:
    match term["operator"]:
        case "In":
            return value in term["values"]
        case "NotIn":
            return value not in term["values"]
        case "Exists":
            return value is not None
        case _:
            assert term["operator"] == "DoesNotExist"
            return value is None


def is_peer(peer: Object, end: End, namespace: str) -> bool:
    """Whether a peer of a policy in `namespace` is this end."""
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        if not end.address:
            return False  # pods have private addresses, and a policy for addresses is not meant for them
        address = ip_address(end.address)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(each) for each in block.get("except", [])
        )
    if end.address:
        return False
    there = peer.get("namespaceSelector")
    in_namespace = end.namespace == namespace if there is None else selects(there, end.namespace_labels)
    return in_namespace and selects(peer.get("podSelector", {}), end.labels)


def _allows(rule: Object, peers: str, other: End, port: int, protocol: str, namespace: str) -> bool:
    listed = rule.get(peers)
    ports = rule.get("ports")
    return (listed is None or any(is_peer(each, other, namespace) for each in listed)) and (
        ports is None or any((each["port"], each["protocol"]) == (port, protocol) for each in ports)
    )


def _open(policies: Sequence[Object], here: End, other: End, port: int, protocol: str, direction: str) -> bool:
    if here.address:
        return True
    peers = {"Ingress": "from", "Egress": "to"}[direction]
    selected = False
    for policy in policies:
        spec, namespace = policy["spec"], policy["metadata"]["namespace"]
        assert spec.keys() <= FIELDS
        if namespace != here.namespace or direction not in spec["policyTypes"]:
            continue
        if selects(spec["podSelector"], here.labels):
            selected = True
            rules = spec.get(direction.lower(), [])
            if any(_allows(rule, peers, other, port, protocol, namespace) for rule in rules):
                return True
    return not selected


def reaches(policies: Sequence[Object], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether `source` may open a connection to this port of `target`."""
    return _open(policies, source, target, port, protocol, "Egress") and _open(
        policies, target, source, port, protocol, "Ingress"
    )
