"""Measures the start of a runner, from its spawn until its handler is ready, without and with isolation.

    .venv/bin/python -m benchmarks.runner_start [STARTS]

The two kinds alternate, so that other load on the machine affects both. The environment has only the base set.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from insula.cache import ENVIRONMENTS, cache_folder
from insula.process.isolation import Isolation, find_sandbox
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from insula_worker.logs.worker_log import WorkerLog
from insula_worker.runners.process import RunnerLaunch, RunnerProcess
from insula_worker.view import View, ViewSettings

STARTS = 20
HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"


async def launch(isolation: Isolation, folder: Path) -> RunnerLaunch:
    """Prepare a release in the same way as a worker."""
    cache = cache_folder(os.environ, folder)
    project = folder / isolation / "release" / "project"
    project.mkdir(parents=True)
    (project / "handler.py").write_text(HANDLER)
    sandbox = find_sandbox(isolation, cache / ENVIRONMENTS)
    settings = ViewSettings(sandbox, isolation, folder / isolation, (folder / "data",))
    view = View(settings, project.parent, project)
    python = await ensure_environment(EnvironmentInputs(project, dict(os.environ)), cache, view)
    return RunnerLaunch(python, project, view, isolation, "handler.py", None, {}, dict(os.environ))


def ignore(*_: object) -> bool:
    """Take the place of the worker's callback for answers. It is never called, because the runner gets no job."""
    return False


async def start_s(launch: RunnerLaunch, log: WorkerLog) -> float:
    """Start and stop a runner. Return how long the start took."""
    began = time.perf_counter()
    runner = await RunnerProcess.start(launch, start_timeout_s=60, lines=log, on_answer=ignore)
    took_s = time.perf_counter() - began
    await runner.stop(5)
    return took_s


async def main(starts: int) -> None:
    """Print the median of each kind and the difference."""
    log = WorkerLog({})
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        launches = {isolation: await launch(isolation, folder) for isolation in (Isolation.OFF, Isolation.AUTO)}
        taken_s: dict[Isolation, list[float]] = {isolation: [] for isolation in launches}
        for _ in range(starts):
            for isolation, one in launches.items():
                taken_s[isolation].append(await start_s(one, log))
        medians_s = {isolation: statistics.median(times) for isolation, times in taken_s.items()}
        for isolation, times in taken_s.items():
            median_ms, slowest_ms = medians_s[isolation] * 1000, max(times) * 1000
            print(f"{isolation:>5}: median {median_ms:6.1f} ms, slowest {slowest_ms:6.1f} ms of {starts} starts")
        print(f"isolation adds {(medians_s[Isolation.AUTO] - medians_s[Isolation.OFF]) * 1000:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else STARTS))
