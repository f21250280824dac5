"""Stores the base of environments, and copies it into each new environment.

A base is a virtual environment for one interpreter, with BASE_SET: the packages that every handler can import. It has
no file of a project, so all environments with the same settings of pip start with a copy of it. A copy takes 1 s, an
installation with pip 10 s.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from insula_worker.environments.installed import missing
from insula_worker.environments.key import EnvironmentInputs, environment_key
from insula_worker.view import Start
from insula_worker.view.program import DEVNULL, running

_COPY: Final = ("cp", "-a", "--reflink=auto")


class Base:
    """The base of an environment. It is in `folder`, next to the environments."""

    def __init__(self, inputs: EnvironmentInputs, environments: Path) -> None:
        """`inputs` are those of the environment to build. Raises EnvironmentFailed if the interpreter does not run."""
        self._inputs = replace(inputs, pip="", conda="", shell="", tensorflow=False, owner="")
        settings = sorted(f"{name}={value}" for name, value in inputs.variables.items() if name.startswith("PIP_"))
        key = hashlib.sha256("\n".join([environment_key(self._inputs), *settings]).encode()).hexdigest()
        self.folder = environments / f"{key}.base"

    async def copy_to(self, target: Path) -> bool:
        """Copy the base into the empty folder `target`. Return False, with `target` empty, if there is no base."""
        found = await asyncio.to_thread(self._find)
        if found is None:
            return False
        if not await _copy(found, target):
            await asyncio.to_thread(empty, target)
            return False
        await asyncio.to_thread(_rename, target, found.name)
        return True

    async def keep(self, built: Path) -> None:
        """Store a copy of `built`, an environment with BASE_SET only, as the base. If the copy fails, store none."""
        copy = built.with_suffix(".copy")
        await asyncio.to_thread(empty, copy)
        (copy / built.name).mkdir()
        if await _copy(built, copy / built.name):
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
            with suppress(OSError):  # another process has just stored it
                copy.rename(self.folder)
        await asyncio.to_thread(shutil.rmtree, copy, ignore_errors=True)

    def _find(self) -> Path | None:
        """Return the stored copy, or None if there is no usable one. In `folder`, it has the name of its original."""
        for found in self.folder.glob("*"):
            path = str(self.folder.with_name(found.name)).encode()  # not in pyvenv.cfg if the cache was moved
            settings = found / "pyvenv.cfg"
            if settings.is_file() and path in settings.read_bytes() and (found / "bin" / "python").exists():
                return None if missing(self._inputs, found) else found
        return None


def empty(folder: Path) -> None:
    """Make `folder` an empty folder. Remove its contents if it exists."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


async def _copy(source: Path, target: Path) -> bool:
    """Copy the contents of a folder into another folder. Return whether that succeeded."""
    command, variables = [*_COPY, f"{source}/.", str(target)], {"PATH": os.defpath}
    async with running(Start(), command, target, variables, DEVNULL, DEVNULL) as program:
        return await program.wait() == 0


def _rename(environment: Path, built_as: str) -> None:
    """Replace the original name of a copied environment in the text files where venv and pip wrote its path."""
    for path in (environment / "pyvenv.cfg", *(environment / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            written = path.read_bytes()
            text = written.replace(built_as.encode(), environment.name.encode())
            if text != written:
                path.write_bytes(text)
