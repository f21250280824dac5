"""The modes in which tests run a stack: with isolation, without it, as an unprivileged user, without namespaces.

INSULA_TEST_MODE is the mode of every test that does not choose one. The default is isolation as far as the machine
allows. `INSULA_TEST_MODE=ordinary pytest tests/contract/seed_document` runs these tests as an unprivileged user.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from tests import no_namespaces
from tests.ordinary_user import OrdinaryUser, ordinary_user

_numbers: Final = itertools.count()


class Mode(StrEnum):
    """A mode of a test's stack."""

    ISOLATED = "isolated"
    OFF = "off"
    ORDINARY = "ordinary"
    NO_NAMESPACES = "no-namespaces"


def chosen_mode() -> Mode:
    """Return the mode in INSULA_TEST_MODE."""
    return Mode(os.environ.get("INSULA_TEST_MODE", Mode.ISOLATED))


def options_of(mode: Mode) -> list[str]:
    """Return the options of `insula up` for this mode."""
    return ["--isolation", "off"] if mode is Mode.OFF else []


def wrapper_of(mode: Mode) -> list[str]:
    """Return the words to put before the command line of `insula up`."""
    return [sys.executable, no_namespaces.__file__] if mode is Mode.NO_NAMESPACES else []


def user_of(mode: Mode) -> OrdinaryUser | None:
    """Return the user that runs the stack, None for the current one. All tests of a run share the user."""
    return _user() if mode is Mode.ORDINARY else None


def adopt(user: OrdinaryUser, projects: Sequence[Path]) -> list[Path]:
    """Copy the projects to the user's home. Return the copies."""
    folder = user.folder(f"projects-{next(_numbers)}")
    copies = [folder / str(number) / project.name for number, project in enumerate(projects)]
    for project, copy in zip(projects, copies, strict=True):
        shutil.copytree(project, copy, symlinks=True)
    subprocess.run(["chown", "-R", str(user.uid), folder], check=True)
    return copies


@cache
def _user() -> OrdinaryUser:
    ending = ExitStack()
    atexit.register(ending.close)
    return ending.enter_context(ordinary_user())
