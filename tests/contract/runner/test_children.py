"""Processes that user code starts: they work, they cannot speak for the runner, and they end with it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from dataclasses import replace

import pytest

from insula_worker.runner_process import Completed, Failed, RunnerLaunch
from tests.contract.runner.conftest import Start, handler, job
from tests.processes import descendants
from tests.waiting import until

SPAWN = """
import multiprocessing
import multiprocessing.util

def square(number):
    from cortex_internal.lib.log import logger
    return number * number

class Handler:
    def __init__(self, config):
        self.context = multiprocessing.get_context(config["method"])
    def handle_async(self, payload):
        with self.context.Pool(2) as pool:
            return {"squares": pool.map(square, payload)}
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
async def test_multiprocessing_works_with_functions_of_the_handlers_module(
    start: Start, launch: RunnerLaunch, method: str
) -> None:
    runner = await start(SPAWN, replace(launch, config={"method": method}))
    outcome = await runner.run(job(b"[1, 2, 3]"))
    assert isinstance(outcome, Completed), outcome
    assert json.loads(outcome.result_json) == {"squares": [1, 4, 9]}


@pytest.mark.parametrize(
    ("line", "code"),
    [("return {}", 0), ("sys.exit(5)", 5), ("raise ValueError", 1), ("self.metrics.gauge('x', 1); os._exit(6)", 6)],
)
async def test_a_forked_child_never_answers_for_the_runner(start: Start, line: str, code: int) -> None:
    runner = await start(
        f"""
        import os, sys
        class Handler:
            def __init__(self, config, metrics_client):
                self.metrics = metrics_client
            def handle_async(self):
                child = os.fork()
                if child == 0:
                    {line}
                return {{"code": os.WEXITSTATUS(os.waitpid(child, 0)[1])}}
        """
    )
    for number in range(2):
        outcome = await runner.run(job(id=str(number)))
        assert isinstance(outcome, Completed), outcome
        assert json.loads(outcome.result_json) == {"code": code}


async def test_a_program_started_by_the_handler_does_not_inherit_the_socket(start: Start) -> None:
    runner = await start(
        handler(
            "import os, subprocess",
            "return {'fds': subprocess.check_output(['ls', '-l', '/proc/self/fd'], close_fds=False).decode()}",
        )
    )
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)
    assert b"socket" not in outcome.result_json


async def test_children_end_with_their_runner(start: Start) -> None:
    """One that holds on to nothing of the runner's but its process group."""
    runner = await start(handler("import subprocess", "child = subprocess.Popen(['sleep', '99'])", "return {}"))
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)

    def sleeping() -> list[int]:  # exec closes what Popen waits for a moment before the command line is there
        return [pid for pid, command in descendants(runner.pid).items() if command.startswith("sleep")]

    await until(sleeping)
    child = os.pidfd_open(sleeping()[0])
    os.kill(runner.pid, signal.SIGKILL)
    await runner.wait_exit()
    ended, _, _ = await asyncio.to_thread(select.select, [child], [], [], 10)
    os.close(child)
    assert ended


async def test_the_runner_is_the_kernels_first_choice_when_memory_runs_out(start: Start) -> None:
    runner = await start(handler("return {'score': open('/proc/self/oom_score_adj').read()}"))
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)
    assert json.loads(outcome.result_json) == {"score": "500\n"}


async def test_a_thread_pool_and_an_error_in_it_are_ordinary(start: Start) -> None:
    runner = await start(
        handler(
            """
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(4) as pool:
                return {"sum": sum(pool.map(int, payload))}
            """
        )
    )
    assert isinstance(await runner.run(job(b'["1", "2"]')), Completed)
    assert isinstance(await runner.run(job(b'["x"]')), Failed)
