"""Installs a version of an API on this worker, so that its runners can be started, and uninstalls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from insula.bundles import Bundles
from insula.devices import device_variables, visible_devices
from insula.errors import InsulaError
from insula.project.configuration.spec import ApiSpec
from insula.project.configuration.units import Quantity
from insula.project.env_file import read_env
from insula.registry import Registration, version_of
from insula.stores.object_keys import bundle_object
from insula_runner.aws import GIVEN_VARIABLE
from insula_worker.environments.environment import activated, ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from insula_worker.environments.unpacking import unpack
from insula_worker.runners.process import RunnerLaunch
from insula_worker.saved_models import fetch_models
from insula_worker.settings import Settings
from insula_worker.view import View, ViewSettings, remove

OWN_PROFILE: Final = frozenset({"AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"})
OWN_ACCOUNT: Final = OWN_PROFILE | {"AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"}
REGION: Final = ("AWS_DEFAULT_REGION", "AWS_REGION")
"""boto3 reads the first variable, other clients the second."""
GIVEN_ENDPOINT: Final = frozenset({"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_ALLOW_HTTP"})
GIVEN_ACCOUNT: Final = GIVEN_ENDPOINT | {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_EC2_METADATA_DISABLED",
}


class VersionMismatch(InsulaError):
    """The configuration in Redis or the bundle in S3 changed after the deployment. The version is not run."""

    def __init__(self, version: str, found: str) -> None:
        super().__init__(
            f"configuration and bundle of version {version} hash to {found}: one of them was changed after the API was "
            f"deployed, so the worker does not run it. Delete the object {bundle_object(version)}, "
            "then deploy the API again"
        )


def check_version(registration: Registration, archive: bytes) -> None:
    """Raise VersionMismatch unless the version is the hash of the registered configuration and the bundle `archive`."""
    found = version_of(registration.spec.encode(), archive)
    if found != registration.version:
        raise VersionMismatch(registration.version, found)


async def install(
    registration: Registration, folder: Path, settings: Settings, views: ViewSettings, tell: Callable[[str], None]
) -> RunnerLaunch:
    """Unpack the bundle of a version into `folder`, fetch its models, and build its environment unless it exists.

    Files that an earlier installation left in `folder` are removed. The caller passes the returned launch to
    `uninstall`. While the environment is built, `tell` gets the last line of output, at most once a second.

    Raises EnvironmentFailed, ModelsUnavailable, ProjectInvalid, StoreUnavailable or VersionMismatch.
    """
    archive = await Bundles(settings.stores.bucket).fetch(registration.version)
    await asyncio.to_thread(check_version, registration, archive)
    spec = ApiSpec.from_json(registration.spec.encode())
    project = folder / "project"
    await asyncio.to_thread(unpack, archive, project, spec.handler.dependencies)
    inputs = environment_inputs(spec, registration.version, project, settings.handler_environment)
    models = spec.handler.models
    view = await asyncio.to_thread(View, views, folder, project)
    try:
        fetched = await fetch_models(models, folder / "models", inputs.variables, view) if models is not None else None
        python = await ensure_environment(
            inputs, settings.cache, view, baked=settings.baked, version=registration.version, tell=tell
        )
    except BaseException:
        view.close()
        raise
    return RunnerLaunch(
        python=python,
        project=project,
        view=view,
        api=spec.name,
        handler_path=spec.handler.path,
        python_path=spec.handler.python_path,
        config=spec.handler.config,
        environment=activated(inputs, python.parents[1]),
        log_level=spec.handler.log_level,
        memory_bytes=_bytes(spec.compute.mem),
        models=fetched,
        processes=spec.handler.processes_per_replica,
        slots=spec.handler.threads_per_process,
        requests_max=spec.handler.max_requests_per_process,
        process_memory_bytes=_bytes(spec.handler.max_memory_per_process),
        devices=_devices(spec, project, settings),
    )


def _devices(spec: ApiSpec, project: Path, settings: Settings) -> list[dict[str, str]]:
    """Return, for each handler process, the environment variables that select its GPUs or other accelerators."""
    own, visible = {*spec.handler.env, *read_env(project)}, visible_devices(settings.handler_environment)
    processes = spec.handler.processes_per_replica
    return [device_variables(number, processes, spec.compute, own, visible) for number in range(processes)]


def _bytes(quantity: Quantity | None) -> int | None:
    return quantity.bytes if quantity is not None else None


def environment_inputs(spec: ApiSpec, version: str, project: Path, given: Mapping[str, str]) -> EnvironmentInputs:
    """Return the inputs for the virtual environment of an API, whose bundle is unpacked in `project`.

    `given` are the default environment variables of handlers; the project's own variables override them.

    Raises ProjectInvalid if `.env` is malformed.
    """
    own = _without_blanks({**spec.handler.env, **read_env(project)})
    ours = {"INSULA_API": spec.name, "INSULA_VERSION": version}
    environment = {**given_beside(own, given), **own, **ours}
    environment |= marked(environment, given)
    files, tensorflow = spec.handler.dependencies, spec.handler.models is not None
    inputs = EnvironmentInputs(project, environment, files.pip, files.conda, files.shell, tensorflow=tensorflow)
    # Such an environment is not shared: a script can read any file, and a variable can change what pip installs. The
    # key covers neither.
    shared = not own and inputs.existing(inputs.shell) is None
    return inputs if shared else replace(inputs, owner=spec.name)


def given_beside(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `given` that do not contradict `own`, the variables of the project.

    A project with its own AWS account uses AWS or its own endpoint, so it does not get the stack's S3. A project with
    an AWS profile does not get the stack's region, because a profile has one. If the project sets one of the two
    variables for the region, both get its value.
    """
    withheld = set(GIVEN_ACCOUNT) if not OWN_ACCOUNT.isdisjoint(own) else set[str]()
    withheld |= set() if OWN_PROFILE.isdisjoint(own) else set(REGION)
    named = next((own[name] for name in REGION if name in own), None)
    region = dict.fromkeys(REGION, named) if named else {}
    return {name: value for name, value in given.items() if name not in withheld} | region


def marked(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variable from which insula_runner.aws reads the access key and the endpoint of the stack's S3.

    Return no variable if the project has its own S3.
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3")
    if all(name in given and environment.get(name) == given[name] for name in names):
        return {GIVEN_VARIABLE: " ".join(given[name] for name in names)}
    return {}


def _without_blanks(own: Mapping[str, str]) -> dict[str, str]:
    """Return `own` without empty AWS keys, profiles and regions. AWS' clients treat an empty value as unset."""
    blank = {*OWN_ACCOUNT, "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", *REGION}
    return {name: value for name, value in own.items() if value or name not in blank}


async def uninstall(folder: Path, launch: RunnerLaunch | None) -> None:
    """Close the view of `launch`, and remove `folder`. The environment and its layer stay in the cache."""
    if launch is not None:
        launch.view.close()
    await asyncio.to_thread(remove, folder)
