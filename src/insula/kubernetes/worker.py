"""The Deployment of an API's workers, and the PodDisruptionBudget of their pods."""

from __future__ import annotations

import re
from typing import Final

from insula.errors import ProjectInvalid
from insula.kubernetes.metadata import (
    WORKER,
    Object,
    confined_container,
    confined_pod,
    labels,
    metadata,
    secret_variable,
    selector,
    variable,
)
from insula.kubernetes.options import (
    ADMIN_PORT,
    ADMIN_SECRET,
    CONFIGURATION,
    GRACE_MARGIN_S,
    HANDLERS_S3_SECRET,
    METRICS_PORT,
    REDIS_SECRET,
    S3_SECRET,
    Options,
)
from insula.kubernetes.resources import placement, resources, written
from insula.project import ApiSpec

CACHE: Final = "/var/cache/insula"
SCRATCH: Final = "/var/lib/insula"
"""CACHE and SCRATCH are folders in the worker's image. The image sets INSULA_CACHE and INSULA_SCRATCH to them."""
HANDLER_PREFIX: Final = "INSULA_HANDLER_"
"""Prefix of variables for the handler. The worker passes INSULA_HANDLER_AWS_X to the handler as AWS_X."""
PROGRESS_S: Final = 3600
"""Time after which a rollout counts as failed: installing packages and `__init__` may take long."""
WORKERS_OWN: Final = re.compile(
    r"(AWS|GRPC|LD|MALLOC|OTEL|PIP|PYTHON|SSL|UV|VIRTUAL_ENV|XDG)(_.*|[A-Z]*)|(.*_)?PROXY|HOME|PATH|POD_IP|TMPDIR",
    re.IGNORECASE,
)
"""Names of variables in handler.env that would change the worker itself. The container does not get them. The handler
gets them from the registration."""
_IMAGE: Final = re.compile(r"[^\s@]+(:(?!latest$)[\w][-.\w]{0,127}|@sha256:[0-9a-f]{64})")


def deployment(spec: ApiSpec, image: str, options: Options) -> Object:
    """Return the Deployment. Raises ProjectInvalid for an image without a version, or a node group of a wrong form.

    With KEDA the object has `replicas` only if `options.initial` is set, because each apply sets the number again.
    """
    if not _IMAGE.fullmatch(image):
        raise ProjectInvalid(
            f"{spec.name} ({spec.kind}): the image {image!r} needs a tag other than latest, or a digest"
        )
    strategy: Object = {
        "maxSurge": _share(spec.update_strategy.max_surge),
        "maxUnavailable": _share(spec.update_strategy.max_unavailable),
    }
    fixed: Object = {}
    if not options.keda or options.initial:
        fixed["replicas"] = spec.autoscaling.init_replicas if options.replicas is None else options.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(spec.name, options),
        "spec": {
            **fixed,
            "progressDeadlineSeconds": PROGRESS_S,
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": selector(spec.name, WORKER)},
            "strategy": {"rollingUpdate": strategy, "type": "RollingUpdate"},
            "template": {
                "metadata": {
                    "annotations": {"prometheus.io/port": str(METRICS_PORT), "prometheus.io/scrape": "true"},
                    "labels": labels(spec.name, WORKER),
                },
                "spec": _pod(spec, image, options),
            },
        },
    }


def disruption_budget(spec: ApiSpec, options: Options) -> Object:
    """Return the budget for voluntary evictions: one worker at a time. So a single replica can be moved too."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(spec.name, options),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(spec.name, WORKER)}},
    }


def _share(share: str) -> str | int:
    return share if share.endswith("%") else int(share)


def _pod(spec: ApiSpec, image: str, options: Options) -> Object:
    spread: list[Object] = [
        {
            "labelSelector": {"matchLabels": selector(spec.name, WORKER)},
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    volumes = _volumes(spec)
    return {
        **confined_pod(spec.name),
        **placement(spec),
        "containers": [
            {
                **confined_container(),
                "env": _environment(spec, options),
                "envFrom": _stores(),
                "image": image,
                "livenessProbe": _probe("liveness", period_s=10, failures=3),
                "name": WORKER,
                "ports": [
                    {"containerPort": ADMIN_PORT, "name": "admin"},
                    {"containerPort": METRICS_PORT, "name": "metrics"},
                ],
                "readinessProbe": _probe("", period_s=5, failures=3),
                "resources": resources(spec),
                "startupProbe": _probe("liveness", period_s=2, failures=90),
                "volumeMounts": [{"mountPath": path, "name": name} for path, (name, _) in volumes.items()],
            }
        ],
        "terminationGracePeriodSeconds": options.grace_s,
        "topologySpreadConstraints": spread,
        "volumes": [{"name": name, **volume} for name, volume in volumes.values()],
    }


def _probe(service: str, *, period_s: int, failures: int) -> Object:
    """Return a probe of the worker's health service `service`. The service with the empty name is the readiness."""
    named: Object = {"service": service} if service else {}
    probe: Object = {"grpc": {"port": ADMIN_PORT, **named}, "periodSeconds": period_s, "timeoutSeconds": 5}
    return {"failureThreshold": failures, **probe}


def _stores() -> list[Object]:
    """Return `envFrom` of the container: the variables for Redis and S3.

    Without the Secret for S3, boto3 uses the role of the pod. The last Secret has S3 keys for handlers. They give no
    access to Insula's own bucket.
    """
    return [
        {"configMapRef": {"name": CONFIGURATION}},
        {"secretRef": {"name": S3_SECRET, "optional": True}},
        {"prefix": HANDLER_PREFIX, "secretRef": {"name": HANDLERS_S3_SECRET, "optional": True}},
    ]


def _environment(spec: ApiSpec, options: Options) -> list[Object]:
    """Return the container's variables: the worker's settings, and handler.env without the names in WORKERS_OWN.

    The handler gets all of handler.env from the registration.
    """
    ours = {
        "INSULA_API": spec.name,
        "INSULA_LOG_LEVEL": spec.handler.log_level,
        "INSULA_GRACE_S": str(options.grace_s - GRACE_MARGIN_S),
        "INSULA_REDIS_USER": f"insula-worker-{spec.name}",
    }
    theirs = {name: value for name, value in spec.handler.env.items() if not WORKERS_OWN.fullmatch(name)}
    return [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "INSULA_ADVERTISE", "value": f"$(POD_IP):{ADMIN_PORT}"},
        secret_variable("INSULA_REDIS_PASSWORD", REDIS_SECRET, f"worker-{spec.name}"),
        secret_variable("INSULA_ADMIN_TOKEN", ADMIN_SECRET, "token"),
        *(variable(name, value) for name, value in (ours | theirs).items()),
    ]


def _volumes(spec: ApiSpec) -> dict[str, tuple[str, Object]]:
    """Return the name and the source of each volume, by the folder at which it is mounted."""
    volumes: dict[str, tuple[str, Object]] = {
        "/tmp": ("tmp", {"emptyDir": {"sizeLimit": "10Gi"}}),  # noqa: S108 - the pod's own
        CACHE: ("cache", {"emptyDir": {"sizeLimit": "20Gi"}}),
        SCRATCH: ("scratch", {"emptyDir": {"sizeLimit": "10Gi"}}),
    }
    if spec.handler.shm_size:
        size = written(spec.handler.shm_size)
        volumes["/dev/shm"] = ("shm", {"emptyDir": {"medium": "Memory", "sizeLimit": size}})  # noqa: S108 - the pod's
    return volumes
