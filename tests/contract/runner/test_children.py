"""Processes that user code starts. They work, cannot write to the runner's socket, and end with the runner."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from dataclasses import replace

import pytest

from insula_worker.runners.messages import Completed, Failed
from insula_worker.runners.process import RunnerLaunch
from tests.contract.runner.conftest import Start, handler, result
from tests.processes import descendants
from tests.running import job
from tests.waiting import until

CHILDREN = """
import multiprocessing, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from cortex_internal.lib.log import logger
import beside

class Thing:
    def __init__(self, number):
        self.number = number

def square(number):
    logger.info("squared")
    return Thing(number * number)

class Handler:
    def __init__(self, config):
        pass
    def handle_async(self, payload):
        if payload == "program":
            line = "import handler, pickle; print(pickle.dumps(handler.square(7)).hex())"
            printed = subprocess.check_output([sys.executable, "-c", line], text=True)
            import pickle
            things = [pickle.loads(bytes.fromhex(printed.splitlines()[-1]))]
        else:
            context = multiprocessing.get_context(payload)
            with context.Pool(1) as pool:
                things = pool.map(square, [1, 2]) + [Thing(n) for n in pool.map(beside.cube, [1, 2])]
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                things += pool.map(square, [3])
        return {
            "numbers": [thing.number for thing in things],
            "own": all(type(thing) is Thing for thing in things),
            "name": repr(Thing),
        }
"""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("handler.py", "handler"),
        ("app/handler.py", "app.handler"),
        ("my handler.v2.py", "cortex_async_handler"),
        ("ast.py", "cortex_async_handler"),
    ],
)
async def test_children_of_every_kind_find_what_the_handlers_module_defines(
    start: Start, launch: RunnerLaunch, path: str, name: str
) -> None:
    """A class of the handler's file has the module name by which Python imports the file.

    If no name leads to the file, the module is called `cortex_async_handler`, as in Cortex.
    """
    (launch.project / path).parent.mkdir(exist_ok=True)
    (launch.project / "beside.py").write_text("def cube(number):\n    return number ** 3\n")
    runner = await start(CHILDREN, replace(launch, handler_path=path))
    shown = {"own": True, "name": f"<class '{name}.Thing'>"}
    for method in ("spawn", "forkserver", "fork") if path == "handler.py" else ("spawn",):
        assert await result(runner, job(json.dumps(method).encode())) == {"numbers": [1, 4, 1, 8, 9], **shown}
    if path == "handler.py":
        assert await result(runner, job(b'"program"')) == {"numbers": [49], **shown}


async def test_a_neighbour_that_imports_the_handlers_module_gets_the_same_one(
    start: Start, launch: RunnerLaunch
) -> None:
    """Another module of the project imports the handler's module, and its code does not run again.

    A pickle made under Cortex loads as the same class.
    """
    (launch.project / "neighbour.py").write_text("def module():\n    import handler\n    return handler\n")
    runner = await start(
        """
        import pickle
        import neighbour
        class Thing:
            pass
        class Handler:
            def handle_async(self):
                as_cortex = pickle.dumps(Thing(), protocol=0).replace(b"handler", b"cortex_async_handler")
                same = neighbour.module().Thing is Thing and type(pickle.loads(as_cortex)) is Thing
                return {"same": same}
        """
    )
    assert await result(runner, job()) == {"same": True}


async def test_a_sitecustomize_of_the_environments_own_still_runs(start: Start, launch: RunnerLaunch) -> None:
    own = launch.project / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins\nbuiltins.customized = __file__\n")
    environment = {**launch.environment, "PYTHONPATH": str(own)}
    runner = await start(handler("return {'by': customized}"), replace(launch, environment=environment))
    assert await result(runner, job()) == {"by": str(own / "sitecustomize.py")}


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
    """A child that shares only the process group with its runner ends with it."""
    runner = await start(handler("import subprocess", "child = subprocess.Popen(['sleep', '99'])", "return {}"))
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)

    def sleeping() -> list[int]:  # exec closes what Popen waits for a moment before the command line is there
        return [pid for pid, command in descendants(runner.process.pid).items() if command.startswith("sleep")]

    await until(sleeping)
    child = os.pidfd_open(sleeping()[0])
    os.kill(runner.process.pid, signal.SIGKILL)
    await runner.process.wait_exit()
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
