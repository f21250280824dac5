"""The cache folder: the Python environments of handlers, and a record of each script that the user allowed to run."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from insula.variables import Location

ENVIRONMENTS: Final = "environments"
CACHE: Final = Location(
    "INSULA_CACHE", "folder of handlers' environments; may be deleted while no stack runs", "`~/.cache/insula`"
)


def cache_folder(environment: Mapping[str, str], instead: Path) -> Path:
    """Return the absolute path of the cache: INSULA_CACHE, else a folder in the user's cache folder.

    Returns `instead` if the user has no home directory, or may not write to it.
    """
    if given := CACHE.read(environment):
        return given.absolute()
    usual = environment.get("XDG_CACHE_HOME", "")
    if usual.startswith("/"):  # the XDG specification ignores relative paths
        folder = Path(usual, "insula")
        return folder if _can_be_made(folder) else instead
    home = home_of(environment)
    folder = Path(home or "/", ".cache", "insula")
    return folder if home is not None and _can_be_made(folder) else instead


def home_of(environment: Mapping[str, str]) -> Path | None:
    """Return the user's home directory: HOME, else the one in the password file. None if neither exists."""
    path = environment.get("HOME", "")
    if not path.startswith("/"):
        try:
            path = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a user without an entry, as in many containers
            return None
    return Path(path) if path.strip("/") and Path(path).is_dir() else None


def _can_be_made(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
