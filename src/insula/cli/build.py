"""`insula build`: makes the container image of a project's workers, with podman or docker.

The image is a worker image with the project in /opt/insula/project and its environments in /opt/insula/environments, so
a worker starts without pip. The output of podman or docker is on stderr, the name of the image on stdout.
Exit codes: 0 done, 1 the engine failed, 2 wrong usage or a refused project.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer

from insula.cli.connection import EXIT_FAILED, spoken_errors
from insula.errors import InvalidArgument
from insula.printing import note, put

if TYPE_CHECKING:
    from insula.project import Project

LINES_KEPT: Final = 15
"""Number of lines that the error repeats: the last lines that the failed podman or docker printed."""
CONTAINERFILE: Final = """\
FROM {base}
LABEL org.opencontainers.image.title={title} org.opencontainers.image.version={version}
USER 0
COPY project {project}
RUN {mount}PIP_NO_CACHE_DIR=1 python -P -m insula_worker.baking {project} /opt/insula \\
    && chmod -R a+rX {project} /opt/insula/environments
USER 65532:65532
"""
PIP_CONF: Final = "--mount=type=secret,id=pip,target=/etc/pip.conf "
"""Option of RUN that mounts the user's pip.conf as a secret: pip can read it, and the image does not contain it."""


class Engine(StrEnum):
    """The programs that can build an image."""

    PODMAN = "podman"
    DOCKER = "docker"


class EngineMissing(InvalidArgument):
    """The program that builds images is not installed: podman or docker, or the one that --engine names."""


def build(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="[CONFIG]", help="Project directory, or its cortex.yaml. Default: the current directory."
        ),
    ] = Path(),
    tag: Annotated[
        str | None,
        typer.Option(
            "--tag",
            metavar="IMAGE",
            help="Name of the image. Default: handler.image, else the name that `insula render` uses.",
            show_default=False,
        ),
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Push the image to the registry in its name.")] = False,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="IMAGE",
            help="Worker image to build on. Default: insula-worker with the version of this program.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option("--engine", help="Program that builds. Default: podman, else docker.", show_default=False),
    ] = None,
    pip_conf: Annotated[
        Path | None,
        typer.Option(
            "--pip-conf",
            metavar="FILE",
            help="pip.conf for the build, for example of a private index. It is not in the image.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build the image of a project's workers: the project and its packages. Its dependencies.sh runs once, as root."""
    from insula.project import read_project

    with spoken_errors():
        project = read_project(config)
        image, program = tag or _image_of(project), _found(engine)
    base = base or _default_base()
    _ensure_base(program, base)
    with TemporaryDirectory(prefix="insula-build-") as folder:
        with spoken_errors():
            has_env = _write_context(Path(folder), project, base, with_pip_conf=pip_conf is not None)
        secret = [f"--secret=id=pip,src={pip_conf.absolute()}"] if pip_conf is not None else []
        _run([program, "build", *secret, "-t", image, "-f", f"{folder}/Containerfile", folder])
    if has_env:
        note("insula build: the image holds the project's .env; push it to a private registry only")
    if push:
        _run([program, "push", image])
    put(image)


def _image_of(project: Sequence[Project]) -> str:
    """Return the one image of all APIs of the project. Raises InvalidArgument if they name several."""
    from insula.kubernetes.images import worker_image

    images = sorted({worker_image(project, each.spec) for each in project})
    if len(images) > 1:
        raise InvalidArgument(
            f"the APIs of {project[0].config_path.name} name several images: {', '.join(images)}; "
            "choose the one to build with --tag"
        )
    return images[0]


def _found(engine: Engine | None) -> str:
    """Return the path of the program that builds images: `engine`, or podman, else docker. Raises EngineMissing."""
    wanted = [engine] if engine is not None else list(Engine)
    found = next(filter(None, map(shutil.which, wanted)), None)
    if found is None:
        raise EngineMissing(f"{' and '.join(wanted)} cannot be found on the PATH; install one of podman and docker")
    return found


def _default_base() -> str:
    from importlib.metadata import version

    from insula.kubernetes.images import REPOSITORY

    return f"{REPOSITORY}:{version('insula')}"


def _ensure_base(program: str, base: str) -> None:
    """Pull the base image, unless it is on this machine. Raises Exit if the pull fails."""
    if subprocess.run([program, "image", "inspect", base], capture_output=True, check=False).returncode == 0:
        return
    done = subprocess.run([program, "pull", base], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    said = "\n".join(done.stderr.strip().splitlines()[-LINES_KEPT:])
    make = f"{Path(program).name} build -f services/worker/Dockerfile -t {shlex.quote(base)} ."
    note(
        f"insula build: the base image {base} is not on this machine, and cannot be pulled:\n{said}\n"
        f"Build it in a copy of Insula's repository with: {make}\nor name another worker image with --base"
    )
    raise typer.Exit(EXIT_FAILED)


def _write_context(folder: Path, project: Sequence[Project], base: str, *, with_pip_conf: bool) -> bool:
    """Write project and Containerfile to `folder`. Return whether the project has an .env. Raises ProjectInvalid."""
    from insula.kubernetes.images import DIGITS, PROJECT_IN_IMAGE, project_version
    from insula.project import CONFIG_NAME
    from insula.project.bundle import extract
    from insula.project.env_file import ENV_FILE

    first = project[0]
    extract(first.bundle(), folder / "project")
    shutil.copyfile(first.config_path, folder / "project" / CONFIG_NAME)
    text = CONTAINERFILE.format(
        base=base,
        title=min(each.spec.name for each in project),
        version=project_version(project)[:DIGITS],
        project=PROJECT_IN_IMAGE,
        mount=PIP_CONF if with_pip_conf else "",
    )
    (folder / "Containerfile").write_text(text, encoding="utf-8")
    return (folder / "project" / ENV_FILE).exists()


def _run(command: Sequence[str]) -> None:
    """Run podman or docker, and copy its output to stderr. If it fails, print its last lines again and raise Exit."""
    last: deque[str] = deque(maxlen=LINES_KEPT)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None, "it was started with a pipe"
        for line in process.stdout:
            note(line, end="")
            last.append(line)
    if process.returncode != 0:
        what = f"{Path(command[0]).name} {command[1]} failed with exit code {process.returncode}"
        note(f"insula build: {what}; its last lines:\n{''.join(last)}", end="")
        raise typer.Exit(EXIT_FAILED)
