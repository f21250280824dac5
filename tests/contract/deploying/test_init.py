"""`insula init` writes a project. It never overwrites a file: it exits with 2 and prints one line with the remedy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def init(folder: Path, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insula.cli.main", "init", *words]
    environment = {"HOME": str(home)} if home else None
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_init_writes_to_this_directory_and_prints_two_commands(tmp_path: Path) -> None:
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["README.md", "cortex.yaml", "handler.py", "sample.json"]
    up, curl = done.stdout.splitlines()
    assert (up, curl.split()[0], curl.split()[-1]) == ("insula up", "curl", "@sample.json")


def test_init_overwrites_no_file(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("mine")
    done = init(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "insula init: handler.py would be overwritten; name another directory, as in `insula init my-api`\n"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["handler.py"]
    assert (tmp_path / "handler.py").read_text() == "mine"


def test_init_refuses_a_file_and_the_home_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for done, problem in (
        (init(tmp_path, "file"), "insula init: file: File exists; name a directory that can be written to\n"),
        (init(tmp_path, home=tmp_path), "the home directory cannot be a project; move the files to a new folder\n"),
    ):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(problem)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
