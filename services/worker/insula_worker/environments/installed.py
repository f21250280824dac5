"""Checks that an environment has the packages that its project requires. pip may have installed them elsewhere.

Compares names only, because pip resolves the versions. A requirement with a marker, a variable or no name is not
checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from insula_worker.environments.key import EnvironmentInputs, requirements_of

_NAMED: Final = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[|[<>=!~@(]|--|\s#|$)")
_SEPARATORS: Final = re.compile(r"[-_.]+")


def missing(inputs: EnvironmentInputs, environment: Path) -> list[str]:
    """Return the required packages that the environment does not hold, as the project spells them. Reads files.

    If the project has a dependencies.sh, BASE_SET is not checked, because the script may remove packages of it.
    """
    names = list(named_requirements(inputs))
    if inputs.existing(inputs.shell) is None:
        names += inputs.base_set
    found = [_plain(path.name) for path in environment.glob("lib/*/site-packages/*-info")]
    return [name for name in dict.fromkeys(names) if not _is_among(_plain(name), found)]


def named_requirements(inputs: EnvironmentInputs) -> Iterator[str]:
    """Yield the name of each unconditional requirement of the project."""
    for line in requirements_of(inputs):
        match = _NAMED.match(line)
        if match is not None and ";" not in line and "${" not in line:
            yield match[1]


def _plain(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


def _is_among(name: str, folders: list[str]) -> bool:
    # A version must follow the name, because other packages may begin with the same name.
    return any(folder.startswith(f"{name}-") and folder[len(name) + 1 :][:1].isdigit() for folder in folders)
