"""The Job that registers an API: it runs `insula deploy` in the image of `insula build`, which contains the project."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from insula.kubernetes.images import DIGITS, PROJECT_IN_IMAGE
from insula.kubernetes.metadata import (
    REGISTRATION,
    Object,
    confined_container,
    confined_pod,
    labels,
    metadata,
    name_of,
    secret_variable,
)
from insula.kubernetes.options import ADMIN_PORT, ADMIN_SECRET, Options
from insula.project import ApiSpec

KEPT_S: Final = 300
"""Time after which Kubernetes deletes the ended Job, so that a later apply of the same manifest registers again."""


def job(spec: ApiSpec, image: str, version: str, options: Options) -> Object:
    """Return the Job. Its name has a hash of the version and the Job's content, because Kubernetes cannot change a Job.

    Registering the same version twice changes nothing, so the Job may be repeated.
    """
    body = _body(spec, image)
    digits = hashlib.sha256(f"{version}\0{json.dumps(body, sort_keys=True)}".encode()).hexdigest()[:DIGITS]
    described = metadata(spec.name, options, REGISTRATION, f"{name_of(spec.name)}-{digits}")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**described, "annotations": {"insula/version": version}},
        "spec": body,
    }


def _body(spec: ApiSpec, image: str) -> Object:
    """Return the Job's spec. It allows 8 retries, because submit may be starting at the same time."""
    return {
        "backoffLimit": 8,
        "template": {
            "metadata": {"labels": labels(spec.name, REGISTRATION)},
            "spec": {
                **confined_pod(spec.name),
                "containers": [
                    {
                        **confined_container(),
                        "command": [
                            "insula",
                            "deploy",
                            PROJECT_IN_IMAGE,
                            "--api",
                            spec.name,
                            "--no-wait",
                            "--admin",
                            f"insula-submit:{ADMIN_PORT}",
                        ],
                        "env": [secret_variable("INSULA_ADMIN_TOKEN", ADMIN_SECRET, "token")],
                        "image": image,
                        "name": REGISTRATION,
                        "resources": {
                            "limits": {"cpu": "1", "memory": "512Mi"},
                            "requests": {"cpu": "100m", "memory": "128Mi"},
                        },
                        "volumeMounts": [{"mountPath": "/tmp", "name": "tmp"}],  # noqa: S108 - the pod's own
                    }
                ],
                "restartPolicy": "OnFailure",
                "volumes": [{"emptyDir": {"sizeLimit": "1Gi"}, "name": "tmp"}],
            },
        },
        "ttlSecondsAfterFinished": KEPT_S,
    }
