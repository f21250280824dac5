"""The key of an environment is equal for equal contents, and differs with any input that could change it."""

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
def test_each_dependency_file_changes_the_key(project: Path, name: str) -> None:
    before = key(project)
    (project / name).write_text("other")
    assert key(project) != before


def test_a_variable_changes_the_key_only_if_a_requirement_names_it(project: Path) -> None:
    (project / "requirements.txt").write_text("six==${SIX}\n")
    found = {
        environment_key(EnvironmentInputs(project=project, variables=variables))
        for variables in ({}, {"SIX": "1.16.0"}, {"SIX": "1.17.0"}, {"SIX": "1.17.0", "OTHER": "1"})
    }
    assert len(found) == 3


def test_other_files_do_not_change_the_key(project: Path) -> None:
    before = key(project)
    (project / "handler.py").write_text("class Handler: ... # changed\n")
    assert key(project) == before


def test_with_a_local_package_each_file_except_build_leftovers_changes_the_key(project: Path) -> None:
    (project / "requirements.txt").write_text(".\n")
    before = key(project)
    (project / "build").mkdir()
    (project / "build" / "lib.py").touch()
    assert key(project) == before
    (project / "handler.py").write_text("changed")
    assert key(project) != before


def test_with_an_editable_package_the_path_of_the_project_changes_the_key(project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("-e .\n")
    assert key(Path(shutil.copytree(project, tmp_path / "copy"))) != key(project)


def test_an_editable_package_in_an_included_file_changes_the_key(project: Path, tmp_path: Path) -> None:
    """requirements.txt includes a file with an editable package. The path of the project is then part of the key.

    The two files may include each other.
    """
    (project / "requirements.txt").write_text("-r more/nested.txt\n")
    (project / "more").mkdir()
    (project / "more" / "nested.txt").write_text("--requirement=../requirements.txt\n  -e ./lib\n")
    assert key(Path(shutil.copytree(project, tmp_path / "copy"))) != key(project)


def test_the_base_set_changes_the_key(project: Path) -> None:
    assert environment_key(EnvironmentInputs(project=project, variables={}, base_set=())) != key(project)


def test_the_error_names_an_interpreter_that_does_not_run(project: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="the interpreter /nowhere/python cannot be run"):
        environment_key(EnvironmentInputs(project=project, variables={}, interpreter=Path("/nowhere/python")))


@pytest.mark.parametrize(
    "line", [".", "./lib", "-e .", "-r more.txt", "-c pins.txt", "lib/x.whl", "x.tar.gz", "a @ file:///x", "-f wheels/"]
)
def test_lines_that_refer_to_files(line: str) -> None:
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
def test_lines_that_refer_to_no_files(line: str) -> None:
    assert not is_local(line)
