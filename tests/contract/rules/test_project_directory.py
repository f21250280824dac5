"""The limits of a project directory, and the errors of `insula up` about them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contract.local.test_refusals import up, write_project

MEBIBYTE = 2**20


def grow(path: Path, size_bytes: int) -> None:
    """Make a sparse file of this size, which takes no space on the disk."""
    with path.open("wb") as file:
        file.truncate(size_bytes)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def test_the_files_together_may_not_exceed_32_mib(project: Path) -> None:
    grow(project / "one.bin", 20 * MEBIBYTE)
    grow(project / "two.bin", 20 * MEBIBYTE)
    refusal = up(project)
    assert refusal.code == 2
    assert f"{project}: project size cannot exceed 32.0 MiB" in refusal.text
    assert ".cortexignore" in refusal.text


def test_one_file_may_not_exceed_32_mib(project: Path) -> None:
    grow(project / "one.bin", 32 * MEBIBYTE + 1)
    refusal = up(project)
    assert refusal.code == 2
    assert f"{project / 'one.bin'}: file size cannot be greater than 32.0 MiB" in refusal.text


def test_the_home_directory_is_no_project(project: Path) -> None:
    refusal = up(project, environment={"HOME": str(project)})
    assert refusal.code == 2
    assert "the home directory cannot be a project" in refusal.text


def test_a_reserved_variable_is_refused_wherever_it_stands(project: Path) -> None:
    """Names that start with CORTEX_ are reserved. They are refused in `.env` and in `handler.env`."""
    (project / ".env").write_text("CORTEX_API_NAME=other\n")
    in_file = up(project)
    (project / ".env").unlink()
    configuration = (project / "cortex.yaml").read_text().replace("handler.py}", "handler.py, env: {CORTEX_X: y}}")
    (project / "cortex.yaml").write_text(configuration)
    in_configuration = up(project)
    assert (in_file.code, in_configuration.code) == (2, 2)
    assert ".env: line 1: CORTEX_API_NAME" in in_file.text
    assert "handler: env: CORTEX_X" in in_configuration.text


def test_a_file_that_cannot_be_read_is_named(project: Path) -> None:
    """The test uses a link that leads out of the project, because root can read every file."""
    (project / "link").symlink_to(os.devnull)
    refusal = up(project)
    assert refusal.code == 2
    assert "link: is a link that leads out of the project" in refusal.text
