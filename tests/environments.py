"""Environments of projects for tests, built by the worker's code."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from insula.cache import cache_folder
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from insula_worker.view import View, ViewSettings


async def python_of(project: Path, *, tensorflow: bool = False) -> Path:
    """Return the interpreter that will run the project's handler. The first call may take minutes; later ones do not.

    The environment of a project with a dependencies.sh belongs to one API. Here this API has the name of the folder.
    """
    cache = cache_folder(os.environ, Path.cwd())
    inputs = EnvironmentInputs(project, dict(os.environ), tensorflow=tensorflow)
    if inputs.existing(inputs.shell) is not None:
        inputs = replace(inputs, owner=project.name)
    with TemporaryDirectory() as folder:
        return await ensure_environment(inputs, cache, View(ViewSettings(), Path(folder), project))


def remove_environments(cache: Path) -> None:
    """Remove all environments of a cache. Keep the base, which new environments copy: building it takes seconds."""
    found = [path for path in (cache / "environments").glob("*") if path.suffix != ".base"]
    subprocess.run(["rm", "-rf", *found], check=True)
