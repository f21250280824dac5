"""Cortex' handler document, section "Project files". The docstrings quote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract.local.test_refusals import up, write_project
from tests.contract.seed_document.conftest import LEFT_OUT, PROJECTS, SIZE_LIMIT_BYTES, Document


@pytest.fixture(scope="package")
def found(document: Document) -> dict[str, Any]:
    """The result of the handler: the files and variables that it found."""
    result: dict[str, Any] = document.api("my-classifier").run(b"{}", "application/json")["result"]
    return result


def test_all_files_of_the_project_directory_are_available(found: dict[str, Any]) -> None:
    """Cortex makes all files in the project directory [...] available for use in your handler implementation."""
    expected = {"handler.py", "values.json", "requirements.txt", "vocabulary/__init__.py", "vocabulary/deep/words.txt"}
    assert expected <= set(found["files"])


def test_byte_code_is_excluded(found: dict[str, Any]) -> None:
    """Python bytecode files (`*.pyc`, `*.pyo`, `*.pyd`) [...] are excluded. Python may write new ones."""
    brought = [name for name in LEFT_OUT if name.endswith((".pyc", ".pyo", ".pyd"))]
    assert len(brought) == 4
    assert set(brought) & set(found["files"]) == set()


def test_names_that_start_with_a_dot_are_excluded(found: dict[str, Any]) -> None:
    """Files or folders that start with `.` [...] are excluded. The exception is `.env`."""
    dotted = {name for name in found["files"] if any(part.startswith(".") for part in Path(name).parts)}
    assert dotted <= {".env"}


def test_the_api_configuration_file_is_excluded(found: dict[str, Any]) -> None:
    """The api configuration file (e.g. `cortex.yaml`) [is] excluded."""
    assert "cortex.yaml" not in found["files"]


def test_cortexignore_follows_gitignore(found: dict[str, Any]) -> None:
    """`.cortexignore` file, which follows the same syntax and behavior as a .gitignore file."""
    ignored = (
        "one.log",  # *.log
        "vocabulary/deep/two.log",
        "scratch/anything.txt",  # /scratch/
        "reports/draft-1.txt",  # reports/**/draft-?.txt
        "reports/2021/draft-2.txt",
        "reports/cache/y.txt",  # **/cache
        "vocabulary/cache/x.txt",
        "#numbers",  # \#numbers
        "trailing.txt",  # with spaces after it
        "a.dat",  # [ab].dat
    )
    kept = (
        "kept.log",  # !kept.log
        "vocabulary/scratch/kept.txt",  # not the one at the root
        "reports/draft-10.txt",  # ? is one character
        "reports/final.txt",
        "c.dat",
    )
    assert all((PROJECTS / "my-classifier" / name).exists() for name in (*ignored, *kept))
    assert set(ignored) & set(found["files"]) == set()
    assert set(kept) <= set(found["files"])


def test_cortexignore_keeps_a_project_below_the_size_limit(document: Document, found: dict[str, Any]) -> None:
    """This may be necessary if you are reaching the size limit for your project directory (32mb)."""
    assert document.stack.state("my-classifier") == ("ready", "")
    assert "big.bin" not in found["files"]


def test_a_project_over_the_size_limit_is_refused(tmp_path: Path) -> None:
    """Without an entry in .cortexignore, a file of more than 32 MiB is refused."""
    project = write_project(tmp_path / "project")
    with (project / "big.bin").open("wb") as big:
        big.truncate(SIZE_LIMIT_BYTES + 1)
    refusal = up(project)
    assert refusal.code == 2
    assert "big.bin: file size cannot be greater than 32.0 MiB" in refusal.text
    assert ".cortexignore" in refusal.text


def test_env_exports_variables_for_the_handler(found: dict[str, Any]) -> None:
    """`.env` file, which exports environment variables that can be used in the handler."""
    expected = {"CLASSIFIER_TOKEN": "abc=def", "CLASSIFIER_EMPTY": "", "CLASSIFIER_QUOTED": "two words"}
    assert found["variables"] == expected


def test_a_line_of_env_must_be_an_assignment(tmp_path: Path) -> None:
    """Each line of this file must follow the `VARIABLE=value` format."""
    project = write_project(tmp_path / "project")
    (project / ".env").write_text("GOOD=1\nno assignment\n")
    refusal = up(project)
    assert refusal.code == 2
    assert ".env: line 2: must have the form VARIABLE=value" in refusal.text


def test_the_constructor_opens_a_file_of_the_project_by_its_name(found: dict[str, Any]) -> None:
    """You can access `values.json` in your Handler class like this: [...] `open('values.json', 'r')`."""
    assert found["values"] == {"key": "value"}
