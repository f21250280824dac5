"""Views of the machine for tests that start programs of a release without a stack."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkdtemp

import pytest

from insula.process.isolation import Isolation, Sandbox, find_sandbox
from insula_worker.view import View, ViewSettings


def open_view(project: Path) -> View:
    """The machine's own, not isolated."""
    return View(ViewSettings(), _folder(project), project)


def isolated_view(project: Path, *, hosts: Path | None = None, hidden: tuple[Path, ...] = ()) -> View:
    """A handler's, as far as this machine allows; its layers are beside the environment it takes."""
    folder = _folder(project)
    settings = ViewSettings(sandbox(folder), "echo", folder, hidden, hosts, confined=True)
    return View(settings, folder, project)


def _folder(project: Path) -> Path:
    return Path(mkdtemp(prefix="release-", dir=project.parent))


def sandbox(folder: Path) -> Sandbox:
    """What is possible here: all of it where CI=true."""
    return find_sandbox(Isolation.REQUIRED if os.environ.get("CI") == "true" else Isolation.AUTO, folder)


def complete_sandbox(folder: Path) -> Sandbox:
    """All of it; a test that needs it is skipped elsewhere, but fails where CI=true."""
    found = sandbox(folder)
    if found.missing:
        pytest.skip(f"this machine does not allow it: {found.missing}")
    return found
