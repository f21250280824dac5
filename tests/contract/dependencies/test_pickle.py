"""`handler.path` may name a file with a class pickled with dill. A real runner loads the class and checks it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from insula_worker.runners.messages import Completed
from insula_worker.runners.process import HandlerStartFailed, RunnerLaunch
from tests.handler_output import Printed
from tests.http_api import HttpApi
from tests.running import Running, job
from tests.stack import running_stack
from tests.views import open_view

CLASS = """
import dill
class Handler:
    greeting = "hello"
    def __init__(self, config):
        self.name = config["name"]
    def handle_async(self, payload, request_id):
        import os
        return {"said": f"{self.greeting} {self.name}", "payload": payload, "files": sorted(os.listdir())}
"""
DUMP = "\nwith open('handler.pickle', 'wb') as file: dill.dump({}, file)\n"


@pytest.fixture
def launch(tmp_path: Path, python_with_dill: Path) -> RunnerLaunch:
    (tmp_path / "project").mkdir()
    return RunnerLaunch(
        python=python_with_dill,
        project=tmp_path / "project",
        view=open_view(tmp_path / "project"),
        api="pickled",
        handler_path="handler.pickle",
        python_path=None,
        config={"name": "world"},
        environment={},
    )


def write(launch: RunnerLaunch, source: str, what: str = "Handler") -> None:
    """Run `source`, then pickle the value of the expression `what` into the project's pickle file."""
    script = textwrap.dedent(source) + DUMP.format(what)
    subprocess.run([launch.python, "-c", script], cwd=launch.project, check=True)


async def answer(launch: RunnerLaunch) -> object:
    """Start the handler, and return its result for one payload."""
    runner = await Running.start(launch, lines=Printed())
    try:
        outcome = await runner.run(job(b'{"a": 1}'))
    finally:
        await runner.process.stop(0)
    assert isinstance(outcome, Completed), outcome
    return json.loads(outcome.result_json)


async def refusal(launch: RunnerLaunch) -> str:
    with pytest.raises(HandlerStartFailed) as refused:
        await Running.start(launch, lines=Printed())
    return str(refused.value)


async def test_a_pickled_class_serves(launch: RunnerLaunch) -> None:
    """The class is pickled by value, so no file of the project has to define it."""
    write(launch, CLASS)
    assert await answer(launch) == {"said": "hello world", "payload": {"a": 1}, "files": ["handler.pickle"]}


async def test_a_pickled_class_may_have_any_name(launch: RunnerLaunch) -> None:
    """Cortex used any class in the pickle."""
    write(launch, CLASS.replace("class Handler", "class Classifier"), "Classifier")
    assert await answer(launch) == {"said": "hello world", "payload": {"a": 1}, "files": ["handler.pickle"]}


async def test_a_class_of_a_module_in_the_project_is_found_there(launch: RunnerLaunch) -> None:
    """Such a class is pickled by its name. The runner imports it from the project's module."""
    (launch.project / "own.py").write_text(CLASS.removeprefix("\nimport dill\n"))
    write(launch, "import dill, own", "own.Handler")
    result = await answer(launch)
    assert isinstance(result, dict)
    assert result["said"] == "hello world"


@pytest.mark.parametrize(
    ("source", "what", "text"),
    [
        (CLASS, "Handler({'name': 'x'})", "must hold a class pickled with dill, holds an instance of Handler"),
        (CLASS, "{'a': 1}", "must hold a class pickled with dill, holds a value of dict"),
        (CLASS.replace("payload, request_id", "data"), "Handler", '"data" is not a supported argument'),
        (CLASS.replace("handle_async", "handle"), "Handler", 'required method "handle_async" is not defined'),
        (CLASS.replace("config", "settings"), "Handler", '"config" is a required argument, but was not provided'),
    ],
)
async def test_a_pickled_class_is_checked_like_any_other(
    launch: RunnerLaunch, source: str, what: str, text: str
) -> None:
    write(launch, source, what)
    said = await refusal(launch)
    assert said.startswith("error in handler.pickle: ")
    assert text in said


async def test_the_error_of_its_init_is_shown(launch: RunnerLaunch) -> None:
    write(launch, CLASS)
    said = await refusal(replace(launch, config={}))
    assert said == "failed to initialize handler implementation: handler.pickle: __init__: 'name'"


async def test_a_missing_module_is_named(launch: RunnerLaunch) -> None:
    (launch.project / "gone.py").write_text(CLASS)
    write(launch, "import dill, gone", "gone.Handler")
    (launch.project / "gone.py").unlink()
    assert await refusal(launch) == "error in handler.pickle: ModuleNotFoundError: No module named 'gone'"


@pytest.mark.parametrize(
    ("data", "text"), [(b"", "Ran out of input"), (b"class Handler: ...", "unable to load pickle: ")]
)
async def test_a_file_that_is_no_pickle_is_refused(launch: RunnerLaunch, data: bytes, text: str) -> None:
    (launch.project / "handler.pickle").write_bytes(data)
    said = await refusal(launch)
    assert said.startswith("error in handler.pickle: ")
    assert text in said


async def test_without_dill_the_error_names_the_missing_package(launch: RunnerLaunch) -> None:
    write(launch, CLASS)
    bare = replace(launch, python=Path(getattr(sys, "_base_executable", sys.executable)))
    assert await refusal(bare) == (
        "error in handler.pickle: a .pickle needs dill, which is not installed; add it to requirements.txt"
    )


@pytest.mark.slow
async def test_a_pickle_is_deployed_and_answers_through_a_whole_stack(launch: RunnerLaunch, tmp_path: Path) -> None:
    """A pickle is not source code, so submit and the worker must not parse it."""
    write(launch, CLASS)
    entry = "- {name: pickled, kind: AsyncAPI, handler: {type: python, path: handler.pickle, config: {name: you}}}"
    (launch.project / "cortex.yaml").write_text(entry)
    async with running_stack([launch.project], data=tmp_path / "data") as stack:
        assert stack.state("pickled") == ("ready", "")
        answered = HttpApi(f"{stack.public}/pickled").run(b"[1]", "application/json")
    assert (answered["result"]["said"], answered["result"]["payload"]) == ("hello you", [1])
