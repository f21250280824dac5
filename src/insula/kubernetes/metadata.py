"""Names and labels of objects, and the parts that all pods have in common."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final, TypeAlias

from insula.kubernetes.options import USER, Options

Object: TypeAlias = dict[str, Any]
"""An object of Kubernetes, or a part of an object. The tests check all objects against Kubernetes' schemas."""
WORKER: Final = "worker"
REGISTRATION: Final = "registration"
COMPONENT: Final = "app.kubernetes.io/component"


def name_of(api: str) -> str:
    """Return the name of an API's objects. It is also the host name at which handlers call the API."""
    return f"api-{api}"


def selector(api: str, component: str) -> dict[str, str]:
    """Return the labels that select the pods of one component of an API. They never change."""
    return {COMPONENT: component, "insula/api": api}


def labels(api: str, component: str) -> dict[str, str]:
    """Return the labels of an object of an API."""
    return {
        **selector(api, component),
        "app.kubernetes.io/name": name_of(api),
        "app.kubernetes.io/part-of": "insula",
        "app.kubernetes.io/version": version("insula"),
    }


def metadata(api: str, options: Options, component: str = WORKER, name: str = "") -> Object:
    """Return the metadata of an object of an API."""
    return {"labels": labels(api, component), "name": name or name_of(api), "namespace": options.namespace}


def confined_pod(api: str) -> Object:
    """Return the fields of a pod that runs as an ordinary user and has no access to Kubernetes' API."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": name_of(api),
    }


def confined_container() -> Object:
    """Return the fields of a container that has no capabilities and cannot write to its root file system."""
    return {
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def variable(name: str, value: str) -> Object:
    """Return an environment variable with this value. Each $ is doubled if Kubernetes would expand the value."""
    expands = "$(" in value or "$$" in value
    return {"name": name, "value": value.replace("$", "$$") if expands else value}


def secret_variable(name: str, secret: str, key: str) -> Object:
    """Return an environment variable with one key of a Secret.

    The value is not in a file, because a handler can read its worker's files. It cannot read the worker's environment.
    """
    return {"name": name, "valueFrom": {"secretKeyRef": {"key": key, "name": secret}}}
