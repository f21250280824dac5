"""The network access to and from an API's pods: ServiceAccount, Service and NetworkPolicies.

The policies in the folder k8s allow all workers to reach Redis and S3, because only an overlay there has the addresses
of Redis and S3.
"""

from __future__ import annotations

from typing import Final

from insula.kubernetes.metadata import REGISTRATION, WORKER, Object, metadata, name_of, selector
from insula.kubernetes.options import ADMIN_PORT, IN_CLUSTER_PORT, METRICS_PORT, Options
from insula.project import ApiSpec

EDGE: Final[Object] = {"app.kubernetes.io/name": "insula-edge"}
SUBMIT: Final[Object] = {"app.kubernetes.io/name": "insula-submit"}
CALLERS: Final = ("insula-results", "insula-submit")
"""The services that the workers' NetworkPolicy lets in. At present neither of them connects to workers."""
METRICS_READER: Final[Object] = {"insula/metrics-reader": "true"}
"""Label of the pods that may read metrics, such as Prometheus. They may be in any namespace."""
PRIVATE_4: Final = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
PRIVATE_6: Final = ("fc00::/7", "fe80::/10")
"""PRIVATE_4 and PRIVATE_6: address ranges of pods, services, machines and the cloud's metadata service. Handlers may
reach all other addresses."""


def service_account(spec: ApiSpec, options: Options) -> Object:
    """Return the account of an API's pods. It has no rights and no token; a cloud may bind a role to it."""
    return {
        "apiVersion": "v1",
        "automountServiceAccountToken": False,
        "kind": "ServiceAccount",
        "metadata": metadata(spec.name, options),
    }


def service(spec: ApiSpec, options: Options) -> Object:
    """Return the Service at which handlers call this API. It leads to Envoy, which gets the API from the host name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(spec.name, options),
        "spec": {
            "ports": [_service_port()],
            "selector": EDGE,
            "type": "ClusterIP",
        },
    }


def _service_port() -> Object:
    return {"name": "http", "port": IN_CLUSTER_PORT, "protocol": "TCP", "targetPort": "in-cluster"}


def worker_policy(spec: ApiSpec, options: Options) -> Object:
    """Return the policy of the workers.

    CALLERS and the readers of metrics can connect to workers. Workers can connect to DNS, Envoy and public addresses.
    """
    callers: Object = {
        "podSelector": {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": [*CALLERS]}]}
    }
    readers: Object = {"namespaceSelector": {}, "podSelector": {"matchLabels": METRICS_READER}}
    public: list[Object] = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [*PRIVATE_4]}},
        {"ipBlock": {"cidr": "::/0", "except": [*PRIVATE_6]}},
    ]
    return _policy(
        spec,
        options,
        WORKER,
        ingress=[
            {"from": [callers], "ports": [_port(ADMIN_PORT)]},
            {"from": [readers], "ports": [_port(METRICS_PORT)]},
        ],
        egress=[
            names(),
            {"ports": [_port(IN_CLUSTER_PORT)], "to": [{"podSelector": {"matchLabels": EDGE}}]},
            {"to": public},
        ],
    )


def registration_policy(spec: ApiSpec, options: Options) -> Object:
    """Return the policy of the Job that registers the API: it can connect only to DNS and submit's admin service."""
    to_submit: Object = {"ports": [_port(ADMIN_PORT)], "to": [{"podSelector": {"matchLabels": SUBMIT}}]}
    return _policy(spec, options, REGISTRATION, ingress=[], egress=[names(), to_submit])


def names() -> Object:
    """Return the rule that allows DNS at every address, because the address of DNS differs between clusters."""
    return {"ports": [_port(53, "UDP"), _port(53)]}


def _port(port: int, protocol: str = "TCP") -> Object:
    return {"port": port, "protocol": protocol}


def _policy(spec: ApiSpec, options: Options, component: str, *, ingress: list[Object], egress: list[Object]) -> Object:
    name = name_of(spec.name) if component == WORKER else f"{name_of(spec.name)}-{component}"
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(spec.name, options, component, name),
        "spec": {
            "egress": egress,
            "ingress": ingress,
            "podSelector": {"matchLabels": selector(spec.name, component)},
            "policyTypes": ["Ingress", "Egress"],
        },
    }
