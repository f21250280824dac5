"""The project's `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.errors import ProjectInvalid
from insula.project.env_file import parse_env, read_env


def test_lines_are_variables(tmp_path: Path) -> None:
    text = "# comment\nA=1\n\nexport B='two words'\nC=\nD=\"a\\nb\"\nE=x=y\nA=2\r\nF=ä # comment\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8", newline="")
    assert read_env(tmp_path) == {"A": "2", "B": "two words", "C": "", "D": "a\nb", "E": "x=y", "F": "ä"}


def test_a_project_needs_no_env_file(tmp_path: Path) -> None:
    assert read_env(tmp_path) == {}


def test_values_are_not_expanded() -> None:
    """A handler's environment must not depend on the environment of the user who deployed it."""
    assert parse_env(b"A=${HOME}/x\nB=$HOME\n") == {"A": "${HOME}/x", "B": "$HOME"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"A=1\nnonsense\n", ".env: line 2: must have the form VARIABLE=value"),
        (b"A=1\n\nB='open\n", ".env: line 3: must have the form VARIABLE=value"),
        (b"CORTEX_X=1\n", ".env: line 1: CORTEX_X: names starting with CORTEX_ or INSULA_ are reserved"),
        (b"A=1\nINSULA_X=1\n", ".env: line 2: INSULA_X: names starting with CORTEX_ or INSULA_ are reserved"),
        (b"1A=1\n", ".env: line 1: 1A: must be the name of an environment variable"),
        (b"A=1\nB=\xff\n", ".env: line 2: must be UTF-8 text"),
        (b"A=\x00\n", ".env: line 1: A: must not contain a null character"),
        (b"A=" + b"x" * 2**20, ".env: must not be larger than"),
    ],
)
def test_errors_name_the_line(text: bytes, problem: str) -> None:
    with pytest.raises(ProjectInvalid) as caught:
        parse_env(text)
    assert str(caught.value).startswith(problem)
