"""Real runners: a child interpreter for each test, given a handler's source."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from insula_worker.runners.messages import Completed, Failed, Job, Metric
from insula_worker.runners.process import RunnerLaunch
from tests.handler_output import Printed
from tests.running import Running
from tests.views import isolated_view, open_view

START_TIMEOUT_S = 30


Start = Callable[..., Awaitable[Running]]


def handler(*lines: str) -> str:
    """Return the source of a handler whose handle_async has these lines."""
    body = textwrap.indent(textwrap.dedent("\n".join(lines)), " " * 8)
    return (
        f"class Handler:\n    def __init__(self, config):\n        pass\n    def handle_async(self, payload):\n{body}\n"
    )


async def result(runner: Running, task: Job, hosts: Sequence[str] = ()) -> dict[str, object]:
    """Run a job that must succeed. Return the handler's dictionary."""
    outcome = await runner.run(task, hosts)
    assert isinstance(outcome, Completed), outcome
    answer: dict[str, object] = json.loads(outcome.result_json)
    return answer


async def failure(runner: Running, task: Job) -> Failed:
    """Run a job that must fail. Return the failure."""
    outcome = await runner.run(task)
    assert isinstance(outcome, Failed), outcome
    return outcome


@pytest.fixture(params=[isolated_view, open_view], ids=["isolated", "open"])
def launch(tmp_path: Path, request: pytest.FixtureRequest) -> RunnerLaunch:
    """The settings with which `start` starts a runner: an empty project, and only the variable PATH.

    Each test runs with isolation and without.
    """
    project = tmp_path / "project"
    project.mkdir()
    return RunnerLaunch(
        python=Path(sys.executable),
        project=project,
        view=request.param(project),
        api="echo",
        handler_path="handler.py",
        python_path=None,
        config={},
        environment={"PATH": os.environ["PATH"]},
    )


@pytest.fixture
async def start(launch: RunnerLaunch) -> AsyncIterator[Start]:
    """Return a function that starts a runner of a handler, given its source. At the end, all runners are stopped."""
    started: list[Running] = []

    async def start_runner(
        source: str, changed: RunnerLaunch = launch, on_metric: Callable[[Metric], None] | None = None
    ) -> Running:
        path = changed.project / changed.handler_path
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        runner = await Running.start(changed, lines=Printed(), on_metric=on_metric)
        started.append(runner)
        return runner

    yield start_runner
    for runner in started:
        await runner.process.stop(0)
