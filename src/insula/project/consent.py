"""Consent to run a project's dependencies.sh on the user's machine, once for each text of the script.

A script runs with the permissions of the user who started `insula up`. We ask only on a terminal. Without one, in CI or
in a container, starting the project is the consent, as with Cortex. The command line asks; this module decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from insula.project.configuration.cortex_yaml import load

FOLDER: Final = "confirmed-scripts"


class Decision(Enum):
    """What to do with a script."""

    RUN = "run"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Script:
    """A dependencies.sh with the text it has now; `sha256` is that text's, in hex."""

    path: Path
    text: bytes
    sha256: str


def decide(*, confirmed: bool, yes: bool, terminal: bool) -> Decision:
    """Return what to do with a script. `confirmed` is whether its text was confirmed earlier.

    `yes` is the user's consent to all scripts of this run, not remembered. Without a `terminal` we cannot ask.
    """
    return Decision.ASK if terminal and not confirmed and not yes else Decision.RUN


def scripts(configurations: Iterable[Path]) -> tuple[Script, ...]:
    """Return the scripts that the APIs of these configuration files run, each text once. Raises ProjectInvalid."""
    found: dict[str, Script] = {}
    for configuration in configurations:
        for name in dict.fromkeys(spec.handler.dependencies.shell for spec in load(configuration)):
            path = configuration.parent / name
            if path.is_file():
                text = path.read_bytes()
                sha256 = hashlib.sha256(text).hexdigest()
                found.setdefault(sha256, Script(path, text, sha256))
    return tuple(found.values())


class Confirmations:
    """The texts a user has confirmed on this machine, as empty files in the cache, named by sha256."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / FOLDER

    def hold(self, script: Script) -> bool:
        """Whether exactly this text was confirmed."""
        return (self._folder / script.sha256).is_file()

    def remember(self, script: Script) -> None:
        """Keep that this text was confirmed. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / script.sha256).touch()
