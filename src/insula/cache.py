"""Where what can be made again is kept: the environments of handlers, and the scripts that a user confirmed."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from insula.variables import Location

ENVIRONMENTS: Final = "environments"
CACHE: Final = Location(
    "INSULA_CACHE", "folder of handlers' environments, which can be made again", "`insula` in the user's cache folder"
)


def cache_folder(environment: Mapping[str, str], instead: Path) -> Path:
    """Return the cache, absolute: INSULA_CACHE, or the user's usual place.

    `instead` takes its place for a user without a home, or with one that cannot be written to.
    """
    if given := CACHE.read(environment):
        return given.absolute()
    usual = environment.get("XDG_CACHE_HOME", "")
    if usual.startswith("/"):  # the specification ignores others
        folder = Path(usual, "insula")
        return folder if _can_be_made(folder) else instead
    home = home_of(environment)
    folder = Path(home or "/", ".cache", "insula")
    return folder if home is not None and _can_be_made(folder) else instead


def home_of(environment: Mapping[str, str]) -> Path | None:
    """Return the user's home directory, None if there is none: HOME, or what the password file says."""
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
