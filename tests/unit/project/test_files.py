"""Which files of a project are deployed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.errors import ProjectInvalid
from insula.project import files as module
from insula.project.files import check_root, project_files
from tests.unit.project.entries import project


def names(root: Path) -> list[str]:
    """Return the names of the project's files."""
    return [file.name for file in project_files(root, "cortex.yaml")]


def refused(root: Path) -> str:
    """Return the error text of a project, which must be refused."""
    with pytest.raises(ProjectInvalid) as caught:
        project_files(root, "cortex.yaml")
    return str(caught.value)


def test_files_that_cortex_left_out_are_left_out(tmp_path: Path) -> None:
    left_out = ["a.pyc", "a.pyo", "a.pyd", ".hidden", ".git/config", "src/__pycache__/x.txt", "src/.b/c"]
    kept = ["values.json", "src/a.py", "src/cortex.yaml", "other.yaml"]
    project(tmp_path, dict.fromkeys(left_out + kept, ""))
    assert names(tmp_path) == sorted([*kept, "handler.py"])


def test_the_configuration_in_use_is_left_out_whatever_its_name(tmp_path: Path) -> None:
    project(tmp_path, {"other.yaml": ""})
    kept = [file.name for file in project_files(tmp_path, "other.yaml")]
    assert kept == ["cortex.yaml", "handler.py"]


def test_cortexignore_has_the_syntax_of_gitignore(tmp_path: Path) -> None:
    ignore = "# comment\n*.bin\n!keep.bin\n/data/\ndocs/**/*.md\n"
    project(
        tmp_path,
        dict.fromkeys(
            ["a.bin", "keep.bin", "data/x", "data/keep.bin", "src/data/x", "docs/a/b.md", "docs/a/b.txt"], ""
        ),
    )
    (tmp_path / ".cortexignore").write_text(ignore)
    assert names(tmp_path) == ["docs/a/b.txt", "handler.py", "keep.bin", "src/data/x"]


def test_the_env_file_is_always_deployed(tmp_path: Path) -> None:
    project(tmp_path, {".env": "A=1", ".cortexignore": ".env\n*", "src/.env": "B=1"})
    assert names(tmp_path) == [".env"]


def test_a_file_over_the_limit_is_refused_with_cortex_text(tmp_path: Path) -> None:
    project(tmp_path, {})
    big = tmp_path / "model.bin"
    with big.open("wb") as file:
        file.truncate(32 * 2**20)
    assert refused(tmp_path).startswith(f"{tmp_path}: project size cannot exceed 32.0 MiB")
    os.truncate(big, 32 * 2**20 + 1)
    assert refused(tmp_path).startswith(f"{big}: file size cannot be greater than 32.0 MiB")
    (tmp_path / ".cortexignore").write_text("*.bin")
    assert names(tmp_path) == ["handler.py"]


def test_the_env_file_is_not_counted(tmp_path: Path) -> None:
    project(tmp_path, {".env": "A=1\n"})
    size = (tmp_path / "handler.py").stat().st_size
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(32 * 2**20 - size)
    assert names(tmp_path) == [".env", "handler.py", "model.bin"]


def test_links_inside_the_project_are_followed(tmp_path: Path) -> None:
    project(tmp_path, {"src/a.py": "1"})
    (tmp_path / "b.py").symlink_to("src/a.py")
    (tmp_path / "lib").symlink_to(tmp_path / "src")
    assert names(tmp_path) == ["b.py", "handler.py", "lib/a.py", "src/a.py"]


def test_links_out_of_the_project_are_refused(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {})
    (tmp_path / "secret").write_text("x")
    (root / "link").symlink_to("../secret")
    assert "link: is a link that leads out of the project" in refused(root)
    (root / ".cortexignore").write_text("link")
    assert names(root) == ["handler.py"]


def test_links_to_nothing_are_refused(tmp_path: Path) -> None:
    project(tmp_path, {})
    (tmp_path / "link").symlink_to("nowhere")
    assert "link: is a link to nowhere, which does not exist" in refused(tmp_path)


def test_cycles_of_links_are_refused(tmp_path: Path) -> None:
    project(tmp_path, {"a/x": ""})
    (tmp_path / "a" / "up").symlink_to("..")
    assert "is a link to a folder that holds it" in refused(tmp_path)


def test_links_that_multiply_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_MAX", 200)
    project(tmp_path, {f"d{level}/x": "" for level in range(12)})
    for level in range(11):
        for side in "ab":
            (tmp_path / f"d{level}" / side).symlink_to(f"../d{level + 1}")
    assert "more than 200 files and folders" in refused(tmp_path)


def test_a_python_environment_in_the_project_is_refused_with_its_folder(tmp_path: Path) -> None:
    """The error names the environment's folder, not a link below it. A hidden or ignored environment is left out."""
    for name in ("deep/env", ".venv"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "pyvenv.cfg").touch()
        (tmp_path / name / "bin" / "python").symlink_to("/usr/bin/env")
    project(tmp_path, {})
    assert refused(tmp_path).startswith(
        "deep/env: is a Python environment, which is not deployed; name it in .cortexig"
    )
    project(tmp_path, {".cortexignore": "env/\n", "conda/conda-meta/history": ""})
    assert refused(tmp_path).startswith("conda: is a Python environment")
    project(tmp_path, {".cortexignore": "env/\nconda\n"})
    assert names(tmp_path) == ["handler.py"]
    (tmp_path / "pyvenv.cfg").touch()
    assert f"{tmp_path}: is a Python environment, which is not deployed; make it elsewhere" in refused(tmp_path)


def test_special_files_are_refused(tmp_path: Path) -> None:
    project(tmp_path, {})
    os.mkfifo(tmp_path / "pipe")
    assert "pipe: is neither a file nor a folder" in refused(tmp_path)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    project(tmp_path, {})
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("")
    assert "file names must be UTF-8" in refused(tmp_path)


def test_home_and_root_cannot_be_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ProjectInvalid, match="the home directory cannot be a project"):
        check_root(tmp_path)
    with pytest.raises(ProjectInvalid, match="the root of the file system cannot be a project"):
        check_root(Path("/"))
    with pytest.raises(ProjectInvalid, match="is not a directory"):
        check_root(tmp_path / "missing")
