"""What `insula build` stores in an image beside the environments: files of the project, and the versions of its APIs.

The files are those that dependencies.sh wrote when the image was built. They are copied into each unpacked copy of the
project, because the script does not run again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_VERSION: Final = ".version"
Snapshot = Mapping[Path, tuple[int, int, int]]
"""Size, time of change and mode of each file and folder, by its path in the project."""


def snapshot(project: Path) -> Snapshot:
    """Return the state of all files and folders of a project. The size and time of a folder are given as 0."""
    found: dict[Path, tuple[int, int, int]] = {}
    for folder, folders, files in os.walk(project):
        for name in (*folders, *files):
            status = Path(folder, name).lstat()
            size, time = (status.st_size, status.st_mtime_ns) if name in files else (0, 0)
            found[Path(folder, name).relative_to(project)] = (size, time, status.st_mode)
    return found


def keep_written(project: Path, before: Snapshot, environment: Path) -> None:
    """Store the project's files that are new or changed since `before`. Removed files are not recorded."""
    store = _store(environment)
    for path, state in snapshot(project).items():
        if before.get(path) == state:
            continue
        source, target = project / path, store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)


def restore(environment: Path, project: Path) -> None:
    """Copy the stored files of a baked environment, if there are any, into an unpacked project."""
    if (store := _store(environment)).is_dir():
        shutil.copytree(store, project, symlinks=True, dirs_exist_ok=True)


def name_version(environments: Path, version: str) -> None:
    """Record that the image has the environment of this version of an API. Writes an empty file."""
    (environments / f"{version}{_VERSION}").touch()


def of_other_versions(environments: Path, version: str) -> bool:
    """Return whether the image was built for a project, but not for this version. False for the plain worker image."""
    versions = {path.stem for path in environments.glob(f"*{_VERSION}")}
    return bool(versions) and version not in versions


def _store(environment: Path) -> Path:
    return environment.with_name(f"{environment.name}.files")
