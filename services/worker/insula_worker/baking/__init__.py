"""Builds the environments of a project in a container image, with the same code as a worker.

`insula build` runs it as root in a container, so a dependencies.sh may change the whole file system of the image.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from insula.cache import ENVIRONMENTS
from insula.project import Project, read_project
from insula.registry import version_of
from insula_worker.environments.baked import keep_written, name_version, snapshot
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.unpacking import unpack
from insula_worker.installation import environment_inputs
from insula_worker.view import View, ViewSettings


async def bake(folder: Path, into: Path, given: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Build the environment of each API of the project in `folder`, as `<into>/environments/<key>`.

    `given` are the default variables of handlers. `tell` gets the name of each API and the progress of its build.
    Raises EnvironmentFailed or ProjectInvalid.
    """
    versions = list[str]()
    for project in read_project(folder):
        tell(f"{project.spec.name}: building its environment")
        with TemporaryDirectory() as scratch:
            versions.append(await _bake(project, Path(scratch, "release"), into, given, tell))
    await asyncio.to_thread(_tidy, into / ENVIRONMENTS)
    for version in versions:
        name_version(into / ENVIRONMENTS, version)


async def _bake(
    project: Project, release: Path, into: Path, given: Mapping[str, str], tell: Callable[[str], None]
) -> str:
    """Build the environment of one API. Return the version of the API."""
    spec, bundle, copy = project.spec, project.bundle(), release / "project"
    version = version_of(spec.to_json(), bundle)
    await asyncio.to_thread(unpack, bundle, copy, spec.handler.dependencies)
    inputs = environment_inputs(spec, version, copy, given)
    before = snapshot(copy)
    python = await ensure_environment(inputs, into, View(ViewSettings(), release, copy), tell=tell)
    if inputs.existing(inputs.shell) is not None:
        keep_written(copy, before, python.parents[1])
    return version


def _tidy(environments: Path) -> None:
    """Remove the logs, the lock files and the bases (see base_copy.py). No worker reads those of an image."""
    for path in environments.iterdir():
        if path.suffix == ".base":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
