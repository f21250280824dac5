"""Shows the dependencies.sh scripts of projects, and asks the user before they run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from insula.errors import ProjectInvalid
from insula.printing import note, visible
from insula.project.consent import Confirmations, Decision, Script, decide, scripts


def confirm_scripts(command: str, configurations: Iterable[Path], cache: Path, *, yes: bool) -> None:
    """Show each dependencies.sh of these configurations to the user, and ask whether it may run.

    Does not ask about a script that the user has confirmed before. Asks nothing with `yes` or without a terminal.
    `cache` is the folder of the confirmations. Raises ProjectInvalid for the first script that the user refuses.
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
    """Whether stdin and stderr are a terminal, so that a person can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(script: Script) -> bool:
    """Show the script and ask. No answer (end of input) means no."""
    note(f"{script.path} will run on this machine with your permissions:\n")
    for line in visible(script.text).splitlines():
        note(f"    {line}")
    # Not typer.confirm: it writes to stdout, which is for the one line of --json.
    note("\nRun it, and do not ask again until it changes? [y/N] ", end="")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        note("")
    return answer.strip().lower() in {"y", "yes"}
