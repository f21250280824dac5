"""git ignores the data directory in the user's repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

from insula_local.datadir import DataDirectory


def untracked(folder: Path) -> str:
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_git_ignores_a_new_data_directory(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    data = DataDirectory(tmp_path / "project" / ".insula", tmp_path)
    assert list(data.path.iterdir())
    assert untracked(tmp_path) == ""
    data.close()


def test_an_existing_directory_is_not_hidden_from_git(tmp_path: Path) -> None:
    DataDirectory(tmp_path, tmp_path).close()
    assert not (tmp_path / ".gitignore").exists()
