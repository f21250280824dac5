"""Reading and checking a whole project."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.errors import ProjectInvalid
from insula.project import read_project
from insula.project.bundle import check
from tests.unit.project.entries import HANDLER, MINIMAL, project


def refused(path: Path) -> str:
    """Return the error text of a project, which must be refused."""
    with pytest.raises(ProjectInvalid) as caught:
        read_project(path)
    return str(caught.value)


def test_a_directory_and_its_configuration_give_the_same_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path, {"values.json": "{}"})
    (found,) = read_project(root)
    assert (found.spec.name, found.root, found.config_path) == ("my-api", root, root / "cortex.yaml")
    assert [file.name for file in found.files()] == ["handler.py", "values.json"]
    assert check(found.bundle()) == 2
    assert read_project(root / "cortex.yaml") == [found]
    monkeypatch.chdir(root)
    assert read_project(Path()) == read_project(Path("cortex.yaml")) == [found]


def test_a_directory_may_have_several_configurations(tmp_path: Path) -> None:
    root = project(tmp_path, {"prod.yaml": MINIMAL.replace("my-api", "prod")})
    (found,) = read_project(root / "prod.yaml")
    assert found.spec.name == "prod"
    assert [file.name for file in found.files()] == ["cortex.yaml", "handler.py"]


def test_several_apis_share_one_bundle(tmp_path: Path) -> None:
    two = MINIMAL + MINIMAL.replace("my-api", "other").replace("handler.py", "src/other.py")
    projects = read_project(project(tmp_path, {"src/other.py": HANDLER}, two))
    assert [each.spec.name for each in projects] == ["my-api", "other"]
    assert projects[0].bundle() == projects[1].bundle()


def test_there_must_be_a_configuration(tmp_path: Path) -> None:
    assert "cortex.yaml: there is no such file" in refused(tmp_path)
    assert "nowhere: there is no such file" in refused(tmp_path / "nowhere")


def test_home_cannot_be_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project(tmp_path, {})))
    assert "the home directory cannot be a project" in refused(tmp_path)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("    dependencies: {pip: reqs.txt}\n", "handler: dependencies: pip: reqs.txt: file does not exist"),
        ("    dependencies: {shell: src}\n", "handler: dependencies: shell: src: is a folder, must be a file"),
        ("    dependencies: {conda: .conda}\n", "handler: dependencies: conda: .conda: file is left out of the proj"),
        ("    python_path: lib\n", "handler: python_path: lib: folder does not exist, or is empty"),
    ],
)
def test_paths_must_exist(tmp_path: Path, more: str, problem: str) -> None:
    project(tmp_path, {"src/x.py": "", ".conda": ""}, MINIMAL + more)
    assert refused(tmp_path).startswith(f"cortex.yaml: my-api (AsyncAPI): {problem}")


def test_the_handler_must_exist_and_be_deployed(tmp_path: Path) -> None:
    project(tmp_path, {}, MINIMAL.replace("handler.py", "missing.py"))
    assert "my-api (AsyncAPI): handler: path: missing.py: file does not exist" in refused(tmp_path)
    project(tmp_path, {".cortexignore": "handler.py"})
    assert "handler: path: handler.py: file is left out of the project" in refused(tmp_path)


def test_an_ignored_requirements_file_is_refused(tmp_path: Path) -> None:
    project(tmp_path, {"requirements.txt": "", ".cortexignore": "*.txt"})
    assert "dependencies: pip: requirements.txt: file is left out of the project" in refused(tmp_path)


def test_the_handler_and_the_env_file_are_checked(tmp_path: Path) -> None:
    project(tmp_path, {".env": "A\n"})
    assert refused(tmp_path).startswith(".env: line 1:")
    project(tmp_path, {".env": "A=1\n", "handler.py": "class Handle:\n    def handle_async(self): pass\n"})
    assert refused(tmp_path) == (
        "error in handler.py: Handler class is not defined: found class Handle, expected Handler"
    )


def test_a_pickled_handler_is_accepted(tmp_path: Path) -> None:
    project(tmp_path, {"handler.pickle": "not Python"}, MINIMAL.replace("handler.py", "handler.pickle"))
    assert [each.spec.handler.path for each in read_project(tmp_path)] == ["handler.pickle"]
