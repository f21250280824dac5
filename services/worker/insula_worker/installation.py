"""From a registered version to something that can be started: its files, its environment, its launch; and back."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from insula.bundles import Bundles
from insula.project.env_file import read_env
from insula.project.extraction import extract
from insula.project.spec import ApiSpec
from insula.registry import Registration
from insula_worker.environment import EnvironmentInputs, activated, ensure_environment
from insula_worker.runner_process import RunnerLaunch
from insula_worker.saved_models import fetch_models
from insula_worker.settings import Settings


async def install(registration: Registration, folder: Path, settings: Settings) -> RunnerLaunch:
    """Unpack the bundle of a version into a folder, fetch its models, make sure its environment exists.

    What is in the folder from a start before is removed.

    Raises EnvironmentFailed, ModelsUnavailable, ProjectInvalid or StoreUnavailable.
    """
    spec = ApiSpec.from_json(registration.spec.encode())
    archive = await Bundles(settings.stores.bucket).fetch(registration.version)
    project = folder / "project"
    await asyncio.to_thread(_unpack, archive, project)
    environment = {
        **settings.handler_environment,
        **spec.handler.env,
        **read_env(project),
        "INSULA_API": spec.name,
        "INSULA_VERSION": registration.version,
    }
    files, models = spec.handler.dependencies, spec.handler.models
    inputs = EnvironmentInputs(project, environment, files.pip, files.conda, files.shell, tensorflow=models is not None)
    fetched = await fetch_models(models, project.with_name("models"), environment) if models is not None else None
    python = await ensure_environment(inputs, settings.cache)
    return RunnerLaunch(
        python=python,
        project=project,
        api=spec.name,
        handler_path=spec.handler.path,
        python_path=spec.handler.python_path,
        config=spec.handler.config,
        environment=activated(inputs, python.parents[1]),
        hosts_file=settings.hosts_file,
        log_level=spec.handler.log_level,
        memory_bytes=spec.compute.mem.bytes if spec.compute.mem is not None else None,
        models=fetched,
    )


async def uninstall(folder: Path) -> None:
    """Remove the files of a version; its environment stays in the cache."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _unpack(archive: bytes, project: Path) -> None:
    """A fresh copy at every start: a handler may have changed the files it runs among."""
    shutil.rmtree(project.parent, ignore_errors=True)
    extract(archive, project)
