"""Consent of the user to run a project's dependencies.sh on this machine, once for each version of the script.

A script runs with the permissions of the user who started `insula up`. We ask only on a terminal. Without a terminal,
as in CI or in a container, the user consents by starting the project, as with Cortex. `insula.cli.consent` asks.
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
    """Whether to run a script at once, or to ask the user first."""

    RUN = "run"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Script:
    """A dependencies.sh with its current text. `sha256` is the hash of the text, in hex."""

    path: Path
    text: bytes
    sha256: str


def decide(*, confirmed: bool, yes: bool, terminal: bool) -> Decision:
    """Return whether to ask about a script. `confirmed` is whether the user has confirmed its current text before.

    `yes` is the user's consent to all scripts of this run; it is not stored. Without a `terminal` we cannot ask.
    """
    return Decision.ASK if terminal and not confirmed and not yes else Decision.RUN


def scripts(configurations: Iterable[Path]) -> tuple[Script, ...]:
    """Return the dependencies.sh scripts of these configurations, without repeated texts. Raises ProjectInvalid."""
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
    """The scripts that a user has confirmed on this machine: empty files in the cache, named by sha256."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / FOLDER

    def hold(self, script: Script) -> bool:
        """Whether exactly this text of the script was confirmed."""
        return (self._folder / script.sha256).is_file()

    def remember(self, script: Script) -> None:
        """Store that this text of the script was confirmed. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / script.sha256).touch()
