"""The container image that the worker of an API runs in."""

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
"""Folder with the project in the image that `insula build` makes."""


def worker_image(project: Sequence[Project], spec: ApiSpec, image: str | None = None) -> str:
    """Return the image of `spec`, one of the APIs of `project`, as `insula build` tags it and a manifest names it.

    It is `handler.image`, else `image`, else `insula-worker-<first API by name>:<12 digits of project_version>`. So the
    APIs of a project share one image, unless the configuration names another. Raises ProjectInvalid if a file of the
    project has changed and breaks a rule.
    """
    first = min(each.spec.name for each in project)
    return spec.handler.image or image or f"{REPOSITORY}-{first}:{project_version(project)[:DIGITS]}"


def plain_image(spec: ApiSpec, image: str | None = None) -> str:
    """Return the image of `spec` if none was built of its project: `handler.image`, else `image`, else Insula's own."""
    return spec.handler.image or image or f"{REPOSITORY}:{version('insula')}"


def project_version(project: Sequence[Project]) -> str:
    """Return a hash of the content of the image: this version of Insula, and the versions of the APIs in any order."""
    bundle = project[0].bundle()
    content = [version("insula"), *sorted(version_of(each.spec.to_json(), bundle) for each in project)]
    return hashlib.sha256("\0".join(content).encode()).hexdigest()
