"""Shows what projects want to run on the user's machine, and asks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from insula.errors import ProjectInvalid
from insula.printing import note, visible
from insula.project.consent import Confirmations, Decision, Script, decide, scripts


def confirm_scripts(command: str, configurations: Iterable[Path], cache: Path, *, yes: bool) -> None:
    """Return if every dependencies.sh of these configurations may run. Ask for those not confirmed yet.

    `cache` is the folder of the confirmations. Raises ProjectInvalid for the first script that may not run.
    """
    confirmations = Confirmations(cache)
    terminal = can_ask()
    for script in scripts(configurations):
        match decide(confirmed=confirmations.hold(script), yes=yes, terminal=terminal):
            case Decision.RUN:
                note(f"{command}: {script.path} runs on this machine")
            case Decision.ASK if _agreed(script):
                confirmations.remember(script)
            case Decision.ASK:
                raise ProjectInvalid(f"{script.path} was not confirmed, so nothing was started.")


def can_ask() -> bool:
    """Whether a person can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(script: Script) -> bool:
    """Show the script and ask; no answer means no."""
    note(f"{script.path} will run on this machine with your permissions:\n")
    for line in visible(script.text).splitlines():
        note(f"    {line}")
    # Not typer.confirm: it writes to stdout as well, where --json has its one line.
    note("\nRun it, and do not ask again until it changes? [y/N] ", end="")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        note("")
    return answer.strip().lower() in {"y", "yes"}
