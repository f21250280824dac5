"""The options of `insula render`, and the names that its objects have in common with the objects in the folder k8s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "insula"
USER: Final = 65532
"""User and group of every container."""
ADMIN_PORT: Final = 8081
METRICS_PORT: Final = 9090
IN_CLUSTER_PORT: Final = 8888
SCALER_PORT: Final = 9001
CONFIGURATION: Final = "insula-stores"
"""ConfigMap with the addresses of Redis and S3, and the settings that all services share."""
REDIS_SECRET: Final = "insula-redis"  # noqa: S105 - the name of a Secret
S3_SECRET: Final = "insula-s3"  # noqa: S105 - the name of a Secret
HANDLERS_S3_SECRET: Final = "insula-handlers-s3"  # noqa: S105 - the name of a Secret
ADMIN_SECRET: Final = "insula-admin"  # noqa: S105 - the name of a Secret
NODE_GROUP: Final = "insula/node-group"
"""Label of nodes. `compute.node_groups` in cortex.yaml lists the allowed values."""
GRACE_S_MIN: Final = 60
GRACE_MARGIN_S: Final = 30
"""How long a worker may run after INSULA_GRACE_S, to return its workloads to the queue and to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `insula render`.

    `grace_s` is the time that a pod has to end, in seconds. Without `keda` there is no ScaledObject, and each API has
    `replicas` replicas, or the `init_replicas` of its configuration if `replicas` is None. With `keda`, a Deployment
    has a number of replicas only if `initial` is set: the `init_replicas`. With `tolerance`, the ScaledObject has the
    autoscaler's tolerances, which need Kubernetes 1.35 or later. With `plain`, the worker's image does not contain the
    project: no Job registers the APIs, and pods install packages when they start.
    """

    namespace: str = NAMESPACE
    image: str | None = None
    grace_s: int = 3600
    keda: bool = True
    replicas: int | None = None
    initial: bool = False
    tolerance: bool = False
    plain: bool = False
