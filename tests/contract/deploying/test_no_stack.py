"""The errors of commands that use the admin port, when no stack runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def insula(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insula.cli.main", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("admin", [[], ["--admin", ""]], ids=["found", "empty"])
def test_without_a_stack_in_this_directory_the_error_names_insula_up(tmp_path: Path, admin: list[str]) -> None:
    done = insula(tmp_path, "get", *admin)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("insula: no running Insula found: no .insula/run/stack.json here. Start one with")


@pytest.mark.parametrize("words", [["get"], ["describe", "a"], ["logs", "a"], ["delete", "a"]], ids=" ".join)
def test_if_no_process_listens_at_the_admin_address_the_error_says_what_to_check(
    tmp_path: Path, words: list[str]
) -> None:
    done = insula(tmp_path, *words, "--admin", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("insula: no Insula answers at this admin address; check that `insula up` is running")
