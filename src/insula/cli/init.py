"""`insula init`: write a project to start from. Exit codes: 0 written, 2 refused."""

from __future__ import annotations

import mimetypes
import os.path
import shlex
from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from insula.cli.connection import EXIT_USAGE, URL_DEFAULT
from insula.errors import ProjectInvalid
from insula.printing import note, put


class Template(StrEnum):
    """The templates of projects, folders of `insula/templates`. Each has one file sample.*, a payload to send."""

    IRIS = "iris"
    IMAGE = "image"
    ASYNC = "async"

    def files(self) -> dict[str, bytes]:
        """Return the content of each file by name."""
        folder = resources.files("insula").joinpath("templates", self)
        # An installer may have put a __pycache__ beside handler.py.
        return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of the project. Default: the current directory.")
    ] = Path(),
    template: Annotated[
        Template,
        typer.Option(
            "--from", help="iris: JSON in, JSON out. image: makes a thumbnail. async: fetches URLs in an async def."
        ),
    ] = Template.IRIS,
) -> None:
    """Write a project that runs: handler, cortex.yaml, a sample payload, README. No file is overwritten."""
    files = template.files()
    try:
        _write(directory, files)
    except ProjectInvalid as error:
        note(f"insula init: {error}")
        raise typer.Exit(EXIT_USAGE) from None
    note(f"{_listed(directory, files)} written. Start the project, and call it from another terminal:")
    for command in commands(directory, files):
        put(command)


def commands(directory: Path, files: Mapping[str, bytes]) -> tuple[str, str]:
    """Return two shell commands, to run in the current directory: start the project, and send its sample payload."""
    from insula.project import CONFIG_NAME
    from insula.project.configuration import cortex_yaml

    [spec] = cortex_yaml.parse(files[CONFIG_NAME], CONFIG_NAME)
    [sample] = (name for name in files if name.startswith("sample."))
    content_type, _ = mimetypes.guess_type(sample)
    up = shlex.join(["insula", "up", *([] if directory == Path() else [str(directory)])])
    url = f"{URL_DEFAULT}{spec.networking.endpoint}"
    return up, f"curl {url} -H 'Content-Type: {content_type}' --data-binary {shlex.quote(f'@{directory / sample}')}"


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the files; if one of them exists already, write nothing. Raises ProjectInvalid if they are not written."""
    from insula.project.files import check_root

    if there := [name for name in files if os.path.lexists(directory / name)]:
        raise ProjectInvalid(
            f"{_listed(directory, there)} would be overwritten; name another directory, as in `insula init my-api`"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        check_root(directory)
        for name, content in files.items():
            with (directory / name).open("xb") as file:
                file.write(content)
    except OSError as error:
        raise ProjectInvalid(f"{error.filename}: {error.strerror}; name a directory that can be written to") from error


def _listed(directory: Path, names: Iterable[str]) -> str:
    return ", ".join(str(directory / name) for name in sorted(names))
