"""The base, the packages that all environments begin with, is installed once and then copied."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from insula_worker.environments.base_copy import Base
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from tests.views import open_view

BUILT = " -m venv "


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


async def build(cache: Path, project: Path, requirements: str, **variables: str) -> tuple[Path, str]:
    """Build an environment with these requirements. Return its folder and the log of the build."""
    project.mkdir(exist_ok=True)
    (project / "requirements.txt").write_text(requirements)
    inputs = EnvironmentInputs(project=project, variables={**os.environ, **variables}, base_set=())
    python = await ensure_environment(inputs, cache, open_view(project))
    folder = python.parent.parent
    return folder, folder.with_suffix(".log").read_text()


async def test_the_second_environment_is_a_copy_with_programs_of_its_own(cache: Path, tmp_path: Path) -> None:
    first, _ = await build(cache, tmp_path / "project", "# first\n")
    second, log = await build(cache, tmp_path / "project", "# second\n")
    assert BUILT not in log
    assert first != second
    for program in ("pip", "pip3"):
        shown = subprocess.check_output([second / "bin" / program, "--version"], text=True)
        assert f" from {second}/lib/" in shown
    for path in (second / "pyvenv.cfg", *(second / "bin").glob("activate*")):
        assert first.name not in path.read_text()
    shutil.rmtree(first)
    assert subprocess.check_output([second / "bin" / "python", "-m", "pip", "list"], text=True)


def test_other_settings_of_pip_have_another_base(cache: Path, tmp_path: Path) -> None:
    """An environment with another PIP_INDEX_URL has another base, because another index may have other packages."""

    def base(**variables: str) -> Path:
        return Base(EnvironmentInputs(tmp_path, variables), cache).folder

    assert base(HOME="/one") == base(HOME="/other")
    assert base(PIP_INDEX_URL="one") != base(PIP_INDEX_URL="other") != base()


async def test_a_base_that_is_broken_is_built_anew(cache: Path, tmp_path: Path) -> None:
    first, _ = await build(cache, tmp_path / "project", "# before\n")
    [base] = first.parent.glob("*.base/*")
    (base / "pyvenv.cfg").unlink()
    _, log = await build(cache, tmp_path / "project", "# after\n")
    assert BUILT in log
    _, log = await build(cache, tmp_path / "project", "# at last\n")
    assert BUILT not in log


async def test_a_copy_that_fails_is_built(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = await build(cache, tmp_path / "project", "# readable\n")
    monkeypatch.setattr("insula_worker.environments.base_copy._COPY", ("false",))
    second, log = await build(cache, tmp_path / "project", "# not copied\n")
    assert BUILT in log
    assert (second / "bin" / "pip").exists()
    assert not list(first.parent.glob("*.copy"))
