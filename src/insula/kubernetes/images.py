"""The container image in which the worker of an API runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from insula.project import ApiSpec, Project
from insula.registry import version_of

REPOSITORY: Final = "insula-worker"
"""Repository of the image of a worker without a project. Its tag is the version of Insula."""
DIGITS: Final = 12
PROJECT_IN_IMAGE: Final = "/opt/insula/project"
"""The project's folder in an image that `insula build` makes."""


def worker_image(project: Sequence[Project], spec: ApiSpec, image: str | None = None) -> str:
    """Return the name of the worker image of `spec`, one of the APIs of `project`.

    It is `handler.image`, else `image`, else `insula-worker-<first API by name>:<12 digits of project_version>`. By
    default `insula build` gives its image the same name. So the APIs of a project share one image, unless the
    configuration names others. Raises ProjectInvalid if a file of the project has changed and breaks a rule.
    """
    first = min(each.spec.name for each in project)
    return spec.handler.image or image or f"{REPOSITORY}-{first}:{project_version(project)[:DIGITS]}"


def plain_image(spec: ApiSpec, image: str | None = None) -> str:
    """Return the worker image of `spec` without the project: `handler.image`, else `image`, else Insula's own."""
    return spec.handler.image or image or f"{REPOSITORY}:{version('insula')}"


def project_version(project: Sequence[Project]) -> str:
    """Return a hash of this version of Insula and of the versions of the APIs. The order of the APIs has no effect."""
    bundle = project[0].bundle()
    content = [version("insula"), *sorted(version_of(each.spec.to_json(), bundle) for each in project)]
    return hashlib.sha256("\0".join(content).encode()).hexdigest()
