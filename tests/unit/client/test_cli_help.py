"""The help of every command, and shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from insula.cli.main import app

INSULA = Path(sys.executable).with_name("insula")


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, first of the program itself."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    yield ()
    yield from ((name,) for name in root.commands)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_help_ends_with_two_examples(words: tuple[str, ...]) -> None:
    """Each example is a command line of the same command, and is not wrapped on a terminal of 80 columns."""
    said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert said.exit_code == 0
    lines = [line.strip() for line in said.stdout.splitlines() if line.strip()]
    assert lines[-3] == "Examples:"
    assert all(line.startswith(" ".join(("insula", *words))) for line in lines[-2:])


def completed(line: str, **environment: str) -> list[str]:
    """Return the program's completions of the line for bash."""
    variables = {"_INSULA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [INSULA], env=os.environ | variables | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options() -> None:
    assert completed("insula de") == ["deploy", "describe", "delete"]
    assert completed("insula logs --fo") == ["--follow"]
    assert completed("insula get --output ") == ["table", "json"]


def test_completion_without_a_stack_prints_no_names_and_no_errors(tmp_path: Path) -> None:
    assert completed("insula get --data /nowhere ") == []
    assert completed("insula get ", INSULA_ADMIN="127.0.0.1:1") == []


def test_installed_completion_works_in_bash(tmp_path: Path) -> None:
    home = os.environ | {"HOME": str(tmp_path)}
    # It is installed for the parent shell. Without a second command, bash would exec the first one.
    install = ["bash", "--norc", "-c", f"{INSULA} --install-completion && true"]
    subprocess.run(install, env=home, capture_output=True, timeout=60, check=True)
    asked = ["bash", "--norc", "-c", ". ~/.bash_completions/insula.sh; complete -p insula"]
    known = subprocess.run(asked, env=home, capture_output=True, text=True, timeout=60, check=True)
    assert known.stdout == "complete -o default -F _insula_completion insula\n"
