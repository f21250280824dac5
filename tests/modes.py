"""How a test's stack is run: isolated as far as the machine allows, or one of the other ways users run it.

INSULA_TEST_MODE sets the mode of every test that does not set its own: `INSULA_TEST_MODE=ordinary pytest
tests/contract/seed_document` proves the document for an unprivileged user.
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
    """The ways."""

    ISOLATED = "isolated"
    OFF = "off"
    ORDINARY = "ordinary"
    NO_NAMESPACES = "no-namespaces"


def chosen_mode() -> Mode:
    """What INSULA_TEST_MODE says."""
    return Mode(os.environ.get("INSULA_TEST_MODE", Mode.ISOLATED))


def options_of(mode: Mode) -> list[str]:
    """The options of `insula up`."""
    return ["--isolation", "off"] if mode is Mode.OFF else []


def wrapper_of(mode: Mode) -> list[str]:
    """What comes before the command."""
    return [sys.executable, no_namespaces.__file__] if mode is Mode.NO_NAMESPACES else []


def user_of(mode: Mode) -> OrdinaryUser | None:
    """Who runs it, if not we; the same user for the whole test run."""
    return _user() if mode is Mode.ORDINARY else None


def adopt(user: OrdinaryUser, projects: Sequence[Path]) -> list[Path]:
    """Give the user copies of the projects."""
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
