"""Real runners that write to a worker's log. A file takes the place of the worker's stdout."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from insula_worker.logs.worker_log import WorkerLog
from insula_worker.runners.messages import Job, Metric
from insula_worker.runners.process import RunnerLaunch, labels
from insula_worker.view import View
from tests import running
from tests.running import Running
from tests.views import isolated_view

START_TIMEOUT_S = 30


@dataclass
class Printed:
    """A worker's log, and the file to which it is written."""

    log: WorkerLog
    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """Close the log and return its lines. Nothing can be logged afterwards."""
        self.log.close()
        return [json.loads(line) for line in self.path.read_text(encoding="ascii").splitlines()]


Start = Callable[..., Awaitable[Running]]


def job(id: str, payload: str = "{}") -> Job:
    """Return a job with this JSON as its payload, and with a trace id."""
    return running.job(payload.encode(), id=id, trace_id=f"trace-of-{id}")


@pytest.fixture
async def printed(tmp_path: Path) -> AsyncIterator[Printed]:
    path = tmp_path / "stdout"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    log = WorkerLog(labels("echo"), descriptor)
    yield Printed(log, path)
    log.close()
    os.close(descriptor)


@pytest.fixture
async def start(printed: Printed, tmp_path: Path) -> AsyncIterator[Start]:
    """Return a function that starts a runner of a handler whose handle_async has the given lines."""
    started: list[Running] = []
    project = tmp_path / "project"
    project.mkdir()

    async def start_runner(
        *lines: str,
        on_metric: Callable[[Metric], None] | None = None,
        log: WorkerLog = printed.log,
        view: Callable[[Path], View] = isolated_view,
        log_level: str = "info",
        slots: int = 1,
        keyword: str = "def",
    ) -> Running:
        body = textwrap.indent(textwrap.dedent("\n".join(lines)), " " * 8)
        source = f"""import asyncio, ctypes, logging.config, multiprocessing, os, subprocess, sys, threading, time
import warnings
from cortex_internal.lib.log import logger as log

class Handler:
    def __init__(self, config, metrics_client):
        print("made")
        self.metrics = metrics_client

    {keyword} handle_async(self, payload, request_id):
{body}
        return {{}}
"""
        (project / "handler.py").write_text(source, encoding="utf-8")
        launch = RunnerLaunch(
            python=Path(sys.executable),
            project=project,
            view=view(project),
            api="echo",
            handler_path="handler.py",
            python_path=None,
            config={},
            environment={"PATH": os.environ["PATH"]},
            log_level=log_level,
            slots=slots,
        )
        runner = await Running.start(launch, on_metric=on_metric, lines=log)
        started.append(runner)
        return runner

    yield start_runner
    for runner in started:
        await runner.process.stop(0)
