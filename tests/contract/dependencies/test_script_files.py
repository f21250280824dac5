"""What dependencies.sh leaves in the project is there at every start, although it ran once."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from insula_worker.environment import EnvironmentFailed, EnvironmentInputs, ensure_environment


@pytest.fixture
def inputs(tmp_path: Path) -> EnvironmentInputs:
    project = tmp_path / "first"
    project.mkdir()
    (project / "given.txt").write_text("given")
    (project / "changed.txt").write_text("before")
    (project / "dependencies.sh").write_text(
        "mkdir models; echo weights > models/new.bin; ln -s new.bin models/latest; echo after > changed.txt\n"
    )
    return EnvironmentInputs(project=project, variables=dict(os.environ), base_set=())


async def test_files_of_the_script_come_with_the_environment(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    """New ones, changed ones and links, into a copy unpacked later; nothing else is touched."""
    later = Path(shutil.copytree(inputs.project, tmp_path / "later"))
    python = await ensure_environment(inputs, tmp_path / "cache")
    (later / "given.txt").write_text("newer")
    assert await ensure_environment(replace(inputs, project=later), tmp_path / "cache") == python
    assert (later / "models" / "latest").readlink() == Path("new.bin")
    assert (later / "models" / "latest").read_text() == "weights\n"
    assert (later / "changed.txt").read_text() == "after\n"
    assert (later / "given.txt").read_text() == "newer"


async def test_what_cannot_be_put_back_is_named(inputs: EnvironmentInputs, tmp_path: Path) -> None:
    later = Path(shutil.copytree(inputs.project, tmp_path / "later"))
    await ensure_environment(inputs, tmp_path / "cache")
    (later / "models").write_text("a file where the script made a folder")
    with pytest.raises(EnvironmentFailed, match=r"left by dependencies\.sh, cannot be copied to .*/later/models/"):
        await ensure_environment(replace(inputs, project=later), tmp_path / "cache")
