"""`insula up` on a terminal runs a dependencies.sh only if the user confirmed it, or passed --yes.

No stack starts here. The question comes first. Then each command fails, because the user has refused or because the
data directory cannot be made.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.addresses import free_addresses
from tests.contract.local.test_refusals import check_refused, up, write_project

SCRIPT = "touch ran\n"
QUESTION = "Run it, and do not ask again until it changes? [y/N] "
STARTED = "--data"
"""A word of the error about the data directory. Output with this word proves that the command went on."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSULA_CACHE", str(tmp_path / "cache"))
    folder = write_project(tmp_path / "project")
    (folder / "dependencies.sh").write_text(SCRIPT)
    folder.with_name("a-file").touch()
    return folder


def impossible_data(project: Path) -> tuple[str, str]:
    return "--data", str(project.with_name("a-file") / "data")


def on_a_terminal(project: Path, answer: str) -> tuple[int, str]:
    """Run `insula up` on a terminal, and answer its question if it asks. Return its exit code and its output."""
    port, address = free_addresses()
    where = ("--public-port", str(port), "--internal-address", address, *impossible_data(project))
    return run_on_a_terminal(("up", str(project), *where), answer)


def run_on_a_terminal(words: Sequence[str], answer: str) -> tuple[int, str]:
    """Run an `insula` command on a terminal, and answer its question. Return its exit code and its output."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "insula.cli.main", *words]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        said = b""
        try:
            while chunk := read(ours):
                said += chunk
                if answer and said.endswith(QUESTION.encode()):
                    os.write(ours, answer.encode())
                    answer = ""
        finally:
            os.close(ours)  # ends a program that still waits for an answer
    return process.returncode, said.decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    """Return what the program wrote. Empty once the terminal is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_without_a_terminal_the_script_is_announced(project: Path) -> None:
    """Without a terminal, as in CI, `insula up` asks nothing. It reports that the script runs, and continues."""
    check_refused(up(project, project, *impossible_data(project)), STARTED, f"{project / 'dependencies.sh'} runs")


def test_with_yes_there_is_no_question(project: Path) -> None:
    check_refused(up(project, project, "--yes", *impossible_data(project)), STARTED)


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"])
def test_on_a_terminal_the_script_is_shown_and_any_answer_except_yes_refuses(project: Path, answer: str) -> None:
    code, said = on_a_terminal(project, answer)
    assert code == 2
    assert f"{project / 'dependencies.sh'} will run on this machine with your permissions:\n" in said
    assert "\n    touch ran\n" in said
    assert said.endswith(f"insula up: {project / 'dependencies.sh'} was not confirmed, so nothing was started.\n")
    assert QUESTION in on_a_terminal(project, "n\n")[1]


def test_one_confirmation_is_enough_until_the_script_changes(project: Path) -> None:
    code, said = on_a_terminal(project, "y\n")
    assert (code, QUESTION in said, "was not confirmed" in said) == (2, True, False)
    assert STARTED in said
    assert QUESTION not in on_a_terminal(project, "")[1]
    check_refused(up(project, project, *impossible_data(project)), STARTED)
    (project / "dependencies.sh").write_text(f"{SCRIPT}# changed\n")
    assert QUESTION in on_a_terminal(project, "n\n")[1]


@pytest.mark.parametrize(
    ("admin", "asked"), [("127.0.0.1:1", True), ("unix:///run/insula/admin.sock", True), ("192.0.2.1:1", False)]
)
def test_a_deployment_to_this_machine_asks_too(project: Path, admin: str, asked: bool) -> None:
    """`insula deploy` asks if the admin address is on this machine. On another one the script cannot harm this user."""
    if not asked:
        (project / "handler.py").unlink()  # refused before anything is sent
    code, said = run_on_a_terminal(("deploy", str(project), "--admin", admin), "n\n")
    assert (code, QUESTION in said) == (2, asked)


def test_a_project_without_a_script_asks_nothing(project: Path) -> None:
    (project / "dependencies.sh").unlink()
    check_refused(up(project, project, *impossible_data(project)), STARTED)
