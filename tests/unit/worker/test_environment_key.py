"""Same contents, same environment; anything that could change it, another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from insula_worker.environments.key import EnvironmentFailed, EnvironmentInputs, environment_key, is_local


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (folder / "handler.py").write_text("class Handler: ...\n")
    return folder


def key(project: Path) -> str:
    return environment_key(EnvironmentInputs(project=project, variables={}))


def test_a_copy_of_the_project_has_the_same_key(project: Path, tmp_path: Path) -> None:
    assert key(Path(shutil.copytree(project, tmp_path / "copy"))) == key(project)


@pytest.mark.parametrize("name", ["requirements.txt", "conda-packages.txt", "dependencies.sh"])
def test_each_dependency_file_counts(project: Path, name: str) -> None:
    before = key(project)
    (project / name).write_text("other")
    assert key(project) != before


def test_variables_count_that_a_requirement_names(project: Path) -> None:
    (project / "requirements.txt").write_text("six==${SIX}\n")
    found = {
        environment_key(EnvironmentInputs(project=project, variables=variables))
        for variables in ({}, {"SIX": "1.16.0"}, {"SIX": "1.17.0"}, {"SIX": "1.17.0", "OTHER": "1"})
    }
    assert len(found) == 3


def test_other_files_do_not_count(project: Path) -> None:
    before = key(project)
    (project / "handler.py").write_text("class Handler: ... # changed\n")
    assert key(project) == before


def test_with_a_local_package_every_file_counts_but_what_its_build_leaves(project: Path) -> None:
    (project / "requirements.txt").write_text(".\n")
    before = key(project)
    (project / "build").mkdir()
    (project / "build" / "lib.py").touch()
    assert key(project) == before
    (project / "handler.py").write_text("changed")
    assert key(project) != before


def test_an_editable_package_ties_the_environment_to_its_folder(project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("-e .\n")
    assert key(Path(shutil.copytree(project, tmp_path / "copy"))) != key(project)


def test_an_editable_package_counts_in_a_nested_file_too(project: Path, tmp_path: Path) -> None:
    """Also where files name each other in a circle."""
    (project / "requirements.txt").write_text("-r more/nested.txt\n")
    (project / "more").mkdir()
    (project / "more" / "nested.txt").write_text("--requirement=../requirements.txt\n  -e ./lib\n")
    assert key(Path(shutil.copytree(project, tmp_path / "copy"))) != key(project)


def test_the_base_set_counts(project: Path) -> None:
    assert environment_key(EnvironmentInputs(project=project, variables={}, base_set=())) != key(project)


def test_an_interpreter_that_does_not_run_is_named(project: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="the interpreter /nowhere/python cannot be run"):
        environment_key(EnvironmentInputs(project=project, variables={}, interpreter=Path("/nowhere/python")))


@pytest.mark.parametrize(
    "line", [".", "./lib", "-e .", "-r more.txt", "-c pins.txt", "lib/x.whl", "x.tar.gz", "a @ file:///x", "-f wheels/"]
)
def test_local_lines(line: str) -> None:
    assert is_local(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# ./x",
        "numpy",
        "numpy==1.0 # see ./x",
        "a @ https://host/a",
        "git+https://host/a",
        "-i https://host/simple",
    ],
)
def test_lines_that_stand_for_nothing_local(line: str) -> None:
    assert not is_local(line)
