"""Views, the files of the machine that a handler can see, for tests that start a project's programs without a stack."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkdtemp

import pytest

from insula.process.isolation import Isolation, Sandbox, find_sandbox
from insula_worker.view import View, ViewSettings


def open_view(project: Path) -> View:
    """Return a view without isolation."""
    return View(ViewSettings(), _folder(project), project)


def isolated_view(project: Path, *, hosts: Path | None = None, hidden: tuple[Path, ...] = ()) -> View:
    """Return the view of a handler, as isolated as this machine allows. Its layers are beside the environment."""
    folder = _folder(project)
    settings = ViewSettings(sandbox(folder), "echo", folder, hidden, hosts, confined=True)
    return View(settings, folder, project)


def _folder(project: Path) -> Path:
    return Path(mkdtemp(prefix="release-", dir=project.parent))


def sandbox(folder: Path) -> Sandbox:
    """Return the isolation that is possible on this machine. If CI=true is set, incomplete isolation is an error."""
    return find_sandbox(Isolation.REQUIRED if os.environ.get("CI") == "true" else Isolation.AUTO, folder)


def complete_sandbox(folder: Path) -> Sandbox:
    """Return complete isolation. If the machine does not allow it, skip the test, or fail if CI=true is set."""
    found = sandbox(folder)
    if found.missing:
        pytest.skip(f"this machine does not allow it: {found.missing}")
    return found
