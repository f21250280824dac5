"""What dependencies.sh leaves in the project: kept with the environment, and put into every later copy.

The script runs once for an environment, each start unpacks the project anew: a model it downloaded beside the handler
would be there the first time only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from insula_worker.environment_key import EnvironmentFailed

FOLDER: Final = "project-files"

Snapshot = Mapping[Path, tuple[int, int, int]]


def snapshot(project: Path) -> Snapshot:
    """Return the project's files and links, and what tells whether one is still the same."""
    return {path: _identity(path) for path in project.rglob("*") if path.is_symlink() or path.is_file()}


def keep(project: Path, before: Snapshot, environment: Path) -> None:
    """Copy what was added or changed since `before` into the environment. Raises EnvironmentFailed."""
    for path, identity in snapshot(project).items():
        if before.get(path) != identity:
            _copy(path, environment / FOLDER / path.relative_to(project))


def restore(environment: Path, project: Path) -> None:
    """Put what was kept into `project`, over what lies there. Raises EnvironmentFailed."""
    kept = environment / FOLDER
    for copy in kept.rglob("*"):
        if copy.is_symlink() or copy.is_file():
            _copy(copy, project / copy.relative_to(kept))


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    except OSError as error:
        raise EnvironmentFailed(f"{source}, left by dependencies.sh, cannot be copied to {target}: {error}") from error


def _identity(path: Path) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_ino, status.st_mtime_ns, status.st_size
