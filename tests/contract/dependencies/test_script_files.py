"""dependencies.sh works on the project's files at every start, each of which has a fresh copy of them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from insula_worker.environment import EnvironmentFailed, EnvironmentInputs, ensure_environment

SCRIPT = "mkdir model; cp given.txt model/weights; rm old.txt; chmod +x run.sh; python -c 'import six'; test ! -e bad\n"


@pytest.fixture
def inputs(tmp_path: Path) -> EnvironmentInputs:
    """Its base set is there when the script runs."""
    project = tmp_path / "first"
    project.mkdir()
    for name in ("given.txt", "old.txt", "run.sh"):
        (project / name).write_text("first")
    (project / "dependencies.sh").write_text(SCRIPT)
    return EnvironmentInputs(project=project, variables=dict(os.environ), base_set=("six",))


async def test_each_start_has_what_the_script_makes_of_its_own_files(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    """A later version of the project, or another with the same script: they share the environment and no file."""
    later = Path(shutil.copytree(inputs.project, tmp_path / "later"))
    (later / "given.txt").write_text("later")
    python = await ensure_environment(inputs, tmp_path / "cache")
    assert await ensure_environment(replace(inputs, project=later), tmp_path / "cache") == python
    for project, text in ((inputs.project, "first"), (later, "later")):
        assert (project / "given.txt").read_text() == (project / "model" / "weights").read_text() == text
        assert not (project / "old.txt").exists()
        assert os.access(project / "run.sh", os.X_OK)


async def test_a_script_that_fails_later_says_so(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    later = Path(shutil.copytree(inputs.project, tmp_path / "later"))
    (later / "bad").touch()
    await ensure_environment(inputs, tmp_path / "cache")
    with pytest.raises(EnvironmentFailed, match=r"dependencies\.sh failed with exit code 1"):
        await ensure_environment(replace(inputs, project=later), tmp_path / "cache")
