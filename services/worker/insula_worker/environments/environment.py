"""Builds the virtual environment of a handler, or finds one that was built from the same inputs.

Environments are in `<cache>/environments`, one folder for each key. An environment is built at its final path, under a
lock between processes. It is checked and marked ready last, so a failed or interrupted build is never used. The
environment's own pip installs the packages: users configure private indexes in pip.conf, which uv does not read.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shlex
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from insula.cache import ENVIRONMENTS
from insula_worker.environments.baked import of_other_versions, restore
from insula_worker.environments.base_copy import Base, empty
from insula_worker.environments.installed import missing
from insula_worker.environments.key import (
    TENSORFLOW,
    EnvironmentFailed,
    EnvironmentInputs,
    describe_interpreter,
    environment_key,
)
from insula_worker.environments.launchers import mend_launchers
from insula_worker.environments.package_settings import LIST_ALL, beside_files, without_places
from insula_worker.view import View
from insula_worker.view.program import DEVNULL, Program, running

BUILD_TIMEOUT_S = 1800.0
LOG_TAIL_BYTES = 16 << 10
LOCK_POLL_S = 0.2
PROGRESS_S = 1.0
LOGGED_EVERY_S = 10.0
PROGRESS_CHARACTERS_MAX = 200
READY_MARK = ".insula-ready"
SHELL = "bash"
ROOT_ADVICE = "this container has no root; if the script needs root, build an image: insula build"
OTHER_IMAGE = (
    "the image of this worker was built for another version of the project and lacks the environment of this one; "
    "build an image of this version: insula build"
)
_QUIET = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}

log = logging.getLogger(__name__)


def _ignore(line: str) -> None:
    """Do nothing."""


async def ensure_environment(
    inputs: EnvironmentInputs,
    cache: Path,
    view: View,
    *,
    baked: Path | None = None,
    version: str = "",
    timeout_s: float = BUILD_TIMEOUT_S,
    tell: Callable[[str], None] = _ignore,
) -> Path:
    """Return the Python of the environment for these inputs. Build the environment if it does not exist.

    `baked` is the read-only folder with the environments of a container image, None outside of one. An environment in
    it is used as it is: its dependencies.sh ran when the image was built, and the files that it wrote are restored. In
    an image that was built for a project but not for `version`, a missing environment is not built, because a
    dependencies.sh may have changed the image: EnvironmentFailed is raised.

    The steps run in the release's `view`, which from now on has this environment. dependencies.sh runs in every new
    copy of a project, also if the environment exists, because the files that it writes are not stored. `cache` is an
    absolute path. Waits while another process builds the same environment. Raises EnvironmentFailed; the next call then
    builds it again. A cancellation ends the running step with all its processes. `timeout_s` limits the whole build,
    but not the wait for another process. `tell` gets the last line of a step's output, at most once a second.
    """
    key = await asyncio.to_thread(environment_key, inputs)
    target = cache / ENVIRONMENTS / key
    python = _python(target)
    script = inputs.existing(inputs.shell)
    rootless = baked is not None and os.geteuid() != 0
    target.parent.mkdir(parents=True, exist_ok=True)
    if baked is not None and await asyncio.to_thread(_is_ready, inputs, baked / key):
        await asyncio.to_thread(restore, baked / key, inputs.project)
        await asyncio.to_thread(view.take, baked / key, target)
        return _python(baked / key)
    if baked is not None and await asyncio.to_thread(of_other_versions, baked, version):
        raise EnvironmentFailed(OTHER_IMAGE)
    await asyncio.to_thread(view.take, target)
    if script is None and await asyncio.to_thread(_is_ready, inputs, target):
        return python
    async with _locked(target.with_suffix(".lock")):
        if not await asyncio.to_thread(_is_ready, inputs, target):
            await _build(Build(inputs, target, view, timeout_s, tell, rootless=rootless))
        elif script is not None:
            found = Build(inputs, target, view, timeout_s, tell, anew=False, rootless=rootless)
            async with _logged(found, target.with_suffix(".script")) as output:
                await _run_steps([_script_step(script)], found, output)
                await _add_tensorflow(found, output)
    return python


@dataclass(frozen=True)
class Build:
    """The arguments of all steps of a build. If `anew` is false, the environment exists, and steps must not change it.

    `rootless` is true if the steps run in a container without root.
    """

    inputs: EnvironmentInputs
    target: Path
    view: View
    timeout_s: float
    tell: Callable[[str], None]
    anew: bool = True
    rootless: bool = False


def _is_ready(inputs: EnvironmentInputs, target: Path) -> bool:
    """Return whether the environment is completely built, and its interpreter and required packages still exist."""
    return (target / READY_MARK).exists() and _python(target).exists() and not missing(inputs, target)


def _python(target: Path) -> Path:
    return target / "bin" / "python"


@asynccontextmanager
async def _locked(path: Path) -> AsyncGenerator[None]:
    """Hold the file's lock. The kernel releases it when the process ends in any way."""
    with path.open("w") as file:
        # Polled, because a thread that waits for the lock cannot be cancelled.
        while not _try_lock(file):  # noqa: ASYNC110 - the other side is a process, it cannot set our Event
            await asyncio.sleep(LOCK_POLL_S)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _build(build: Build) -> None:
    inputs, target = build.inputs, build.target
    first, own = await asyncio.to_thread(_build_steps, inputs, target)
    base = None if inputs.existing(inputs.conda) else await asyncio.to_thread(Base, inputs, target.parent)
    await asyncio.to_thread(build.view.forget)
    await asyncio.to_thread(empty, target)
    async with _logged(build, target.with_suffix(".log")) as output:
        if base is None or not await base.copy_to(target):
            await _run_steps(first, build, output)
            if base is not None:
                await base.keep(target)
        await _run_steps(own, build, output)
        await _add_tensorflow(build, output)
    if lacking := await asyncio.to_thread(missing, inputs, target):
        advice = "check the settings of pip in .env, handler.env and dependencies.sh"
        raise EnvironmentFailed(
            f"pip reported success, but did not install {', '.join(lacking)} where it should; {advice}"
        )
    (target / READY_MARK).touch()


@asynccontextmanager
async def _logged(build: Build, path: Path) -> AsyncGenerator[IO[bytes]]:
    """Open the log at `path` for the steps of the block. Raises EnvironmentFailed if they exceed the time limit."""
    with path.open("wb") as output:
        try:
            async with asyncio.timeout(build.timeout_s):
                yield output
        except TimeoutError as error:
            text = f"the environment was not built within {build.timeout_s:g} s"
            raise EnvironmentFailed(f"{text}:\n{_tail(path)}") from error


async def _run_steps(steps: Sequence[Sequence[str]], build: Build, output: IO[bytes]) -> None:
    """Run the steps one after the other. Raises EnvironmentFailed."""
    for step in steps:
        await _run_step(step, build, output)
        if build.anew:
            await asyncio.to_thread(mend_launchers, build.target)


async def _add_tensorflow(build: Build, output: IO[bytes]) -> None:
    """Add TensorFlow if the API needs it and the project's files did not install it. Raises EnvironmentFailed."""
    if build.inputs.tensorflow and not _has_tensorflow(build.target):
        await _run_step(_tensorflow_step(build.inputs, build.target), build, output)


def _build_steps(inputs: EnvironmentInputs, target: Path) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
    """Return two lists of commands: for the base of the environment, and for the packages of the project.

    The second has Cortex' order: dependencies.sh, conda, pip. The base comes first, so that the user's pins win. Raises
    EnvironmentFailed if a step's program is missing.
    """
    pip = _pip(target)
    shell, conda, requirements = (inputs.existing(name) for name in (inputs.shell, inputs.conda, inputs.pip))
    first: list[Sequence[str]] = [[str(inputs.interpreter), "-I", "-m", "venv", str(target)]]
    own: list[Sequence[str]] = []
    if conda:
        program = _find_conda(conda.name)
        version = ".".join(describe_interpreter(inputs.interpreter).split(".")[:2])
        first = [[program, "create", "--yes", "--prefix", str(target), f"python={version}", "pip"]]
    if inputs.base_set:
        first.append([*pip, *inputs.base_set])
    if shell:
        own.append(_script_step(shell))
    if conda:
        # As Cortex did, but for this environment alone: what the user's channels lack may be on conda-forge.
        channels = ["--file", str(target / ".condarc"), "--append", "channels", "conda-forge"]
        own.append([_find_conda(conda.name), "config", *channels])
        own.append([_find_conda(conda.name), "install", "--yes", "--prefix", str(target), "--file", str(conda)])
    if requirements:
        own.append([*pip, "-r", str(requirements)])
    return first, own


def _script_step(script: Path) -> list[str]:
    return [SHELL, "-e", str(script)]


def _has_tensorflow(target: Path) -> bool:
    return any(target.glob("lib/python*/site-packages/tensorflow/__init__.py"))


def _tensorflow_step(inputs: EnvironmentInputs, target: Path) -> Sequence[str]:
    """Return the command that adds a TensorFlow that fits the user's pins. If there is none, pip prints the reason."""
    requirements = inputs.existing(inputs.pip)
    more = ["-r", str(requirements)] if requirements else []
    return [*_pip(target), TENSORFLOW, *more]


def _pip(target: Path, command: str = "install") -> list[str]:
    # -I: a file of the project must not replace a module of pip with the same name.
    return [str(_python(target)), "-I", "-m", "pip", command]


def _find_conda(asked_by: str) -> str:
    program = shutil.which("conda")
    if program is None:
        advice = "install conda on this machine, or move the packages to requirements.txt"
        raise EnvironmentFailed(f"{asked_by} needs conda, which is not on the PATH; {advice}")
    return program


async def _run_step(command: Sequence[str], build: Build, output: IO[bytes]) -> None:
    """Run one command in the environment, and write its output to the file. Raises EnvironmentFailed."""
    log.info("installation step started", extra={"command": shlex.join(command)[:PROGRESS_CHARACTERS_MAX]})
    start, path = output.tell(), Path(output.name)
    output.write(f"+ {shlex.join(command)}\n".encode())
    output.flush()
    inputs = build.inputs
    variables = without_places(activated(inputs, build.target)) | _QUIET
    try:
        variables = await _settled(build, variables)
        async with running(build.view.step(building=build.anew), command, inputs.project, variables, output) as program:
            code = await _telling_progress(program, path, build.tell)
    except OSError as error:
        raise EnvironmentFailed(f"{shlex.join(command)} cannot be started: {error}") from error
    if code != 0:
        advice = f"\n{ROOT_ADVICE}" if build.rootless and command[0] == SHELL else ""
        raise EnvironmentFailed(f"{shlex.join(command)} failed with exit code {code}:\n{_tail(path, start)}{advice}")


async def _settled(build: Build, variables: Mapping[str, str]) -> dict[str, str]:
    """Return `variables`, changed so that no pip.conf makes pip install outside the environment.

    The files are read before each step, because a dependencies.sh may write one. If pip cannot read a file, the step
    itself fails with pip's message.
    """
    if not _python(build.target).exists():
        return dict(variables)
    command = [*_pip(build.target, "config"), "list"]
    start, project = build.view.step(building=build.anew), build.inputs.project
    async with running(start, command, project, {**variables, **LIST_ALL}, asyncio.subprocess.PIPE, DEVNULL) as program:
        listed = await program.stdout.read() if program.stdout is not None else b""
        await program.wait()
    return beside_files(variables, listed.decode(errors="replace"))


async def _telling_progress(program: Program, path: Path, tell: Callable[[str], None]) -> int:
    """Wait for a step's end, and return its exit code. `tell` gets the last line of its output, if new, each second."""
    told, logged, log_at = "", "", time.monotonic() + LOGGED_EVERY_S
    while True:
        try:
            async with asyncio.timeout(PROGRESS_S):
                return await program.wait()
        except TimeoutError:
            line = "".join(_tail(path).splitlines()[-1:])[:PROGRESS_CHARACTERS_MAX]
        if line != told:
            tell(line)
        told = line
        if line != logged and time.monotonic() >= log_at:
            log.info("installing packages", extra={"progress": line})
            logged, log_at = line, time.monotonic() + LOGGED_EVERY_S


def activated(inputs: EnvironmentInputs, target: Path) -> dict[str, str]:
    """Return `inputs.variables` with the environment activated: `pip` and `python` are those of the environment."""
    path = os.pathsep.join((str(target / "bin"), inputs.variables.get("PATH", os.defpath)))
    # conda reads the .condarc of the environment it takes for the active one.
    kind = "CONDA_PREFIX" if inputs.existing(inputs.conda) else "VIRTUAL_ENV"
    return {**inputs.variables, "PATH": path, kind: str(target)}


def _tail(log: Path, start: int = 0) -> str:
    """Return the end of the log, at most LOG_TAIL_BYTES, and nothing before the position `start`."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
