"""dependencies.sh runs at every start, each time on a new copy of the project's files."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from insula_worker.environments import environment
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentFailed, EnvironmentInputs
from tests.views import open_view
from tests.waiting import until

SCRIPT = "mkdir model; cp given.txt model/weights; rm old.txt; chmod +x run.sh; python -c 'import six'; test ! -e bad\n"


@pytest.fixture
def inputs(tmp_path: Path) -> EnvironmentInputs:
    """Return a project whose dependencies.sh imports `six`, a package of the environment's base."""
    project = tmp_path / "first"
    project.mkdir()
    for name in ("given.txt", "old.txt", "run.sh"):
        (project / name).write_text("first")
    (project / "dependencies.sh").write_text(SCRIPT)
    return EnvironmentInputs(project=project, variables=dict(os.environ), base_set=("six",))


async def test_the_script_runs_on_the_files_of_each_start(
    inputs: EnvironmentInputs, tmp_path: Path, cache: Path
) -> None:
    """Two versions with the same script share the environment, but no file of the project."""
    later = Path(shutil.copytree(inputs.project, tmp_path / "later"))
    (later / "given.txt").write_text("later")
    python = await ensure_environment(inputs, cache, open_view(inputs.project))
    assert await ensure_environment(replace(inputs, project=later), cache, open_view(later)) == python
    for project, text in ((inputs.project, "first"), (later, "later")):
        assert (project / "given.txt").read_text() == (project / "model" / "weights").read_text() == text
        assert not (project / "old.txt").exists()
        assert os.access(project / "run.sh", os.X_OK)


async def test_the_progress_of_a_long_step_is_logged(
    inputs: EnvironmentInputs, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a step of the build runs, such as pip, its latest line of output is logged, each line once."""
    monkeypatch.setattr(environment, "PROGRESS_S", 0.05)
    monkeypatch.setattr(environment, "LOGGED_EVERY_S", 0)
    caplog.set_level("INFO", logger=environment.__name__)
    script = "for step in one two; do echo half of it; echo step $step; until [ -e $step ]; do sleep 0.05; done; done\n"
    (inputs.project / "dependencies.sh").write_text(script)

    def logged() -> list[str]:
        return [vars(record)["progress"] for record in caplog.records if record.message == "installing packages"]

    async def go_on(step: str) -> None:
        await until(lambda: f"step {step}" in logged(), within_s=60)
        (inputs.project / step).touch()

    lines: list[str] = []
    view = open_view(inputs.project)
    building = asyncio.create_task(ensure_environment(inputs, cache, view, tell=lines.append))
    await go_on("one")
    await go_on("two")
    await building
    assert lines.count("step one") == lines.count("step two") == 1
    assert logged().count("step one") == logged().count("step two") == 1


async def test_a_script_that_fails_at_a_later_start_is_reported(
    inputs: EnvironmentInputs, tmp_path: Path, cache: Path
) -> None:
    later = Path(shutil.copytree(inputs.project, tmp_path / "later"))
    (later / "bad").touch()
    await ensure_environment(inputs, cache, open_view(inputs.project))
    with pytest.raises(EnvironmentFailed, match=r"dependencies\.sh failed with exit code 1"):
        await ensure_environment(replace(inputs, project=later), cache, open_view(later))
