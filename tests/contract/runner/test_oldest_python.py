"""The runner works with Python 3.8, the oldest version that it supports."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from insula_worker.runners.messages import Completed, Failed
from insula_worker.runners.process import RunnerLaunch
from tests.contract.runner.conftest import Start
from tests.running import job


def find_python38() -> Path | None:
    """Return the path of a Python 3.8, or None. A version manager may have a `python3.8` that fails."""
    found = shutil.which("python3.8")
    if found is None:
        return None
    asked = subprocess.run(
        [found, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False
    )
    return Path(asked.stdout.strip()) if asked.returncode == 0 else None


PYTHON38 = find_python38()

EVERYTHING = """
import logging, multiprocessing, sys
from cortex_internal.lib.log import logger as log

def square(number):
    return number * number

class Handler:
    def __init__(self, config, metrics_client):
        self.metrics = metrics_client
    async def handle_async(self, payload, request_id):
        log.info("received", extra={"payload": payload})
        logging.info("received", extra={"payload": payload})
        self.metrics.gauge("size", len(payload))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return {"version": sys.version_info[:2], "squares": pool.map(square, payload)}
"""


@pytest.mark.skipif(PYTHON38 is None, reason="needs a Python 3.8")
async def test_every_part_of_the_runner_works_on_python_38(start: Start, launch: RunnerLaunch) -> None:
    assert PYTHON38
    metrics: asyncio.Queue[object] = asyncio.Queue()
    runner = await start(EVERYTHING, replace(launch, python=PYTHON38), on_metric=metrics.put_nowait)
    outcome = await runner.run(job(b"[1, 2]"))
    assert isinstance(outcome, Completed), outcome
    assert json.loads(outcome.result_json) == {"version": [3, 8], "squares": [1, 4]}
    await metrics.get()
    failed = await runner.run(job(b"1"))
    assert isinstance(failed, Failed)
    assert failed.message == "TypeError: object of type 'int' has no len()"
    await runner.process.stop(10)
    assert await runner.process.wait_exit() == "ended with code 0"
