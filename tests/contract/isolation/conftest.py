"""Fixtures: releases prepared as the worker does, handlers started in them, stacks of an ordinary user and of root."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from insula.process.isolation import Sandbox
from insula_worker.environments.environment import ensure_environment
from insula_worker.environments.key import EnvironmentInputs
from insula_worker.runners.messages import Completed
from insula_worker.runners.process import RunnerLaunch
from insula_worker.view import View, ViewSettings
from tests.environments import remove_environments
from tests.handler_output import Printed
from tests.http_api import HttpApi
from tests.ordinary_user import ROOT, OrdinaryUser, ordinary_user
from tests.running import Running, job
from tests.stack import Stack, running_stack
from tests.views import complete_sandbox

PROJECT = Path("tests", "projects", "isolation")
START_TIMEOUT_S = 60
EXECUTES = """
class Handler:
    def __init__(self, config):
        exec(config.get("init", ""), {})

    def handle_async(self, payload):
        names = {}
        exec(payload, names)
        return {"found": names["found"]}
"""


class Handler:
    """A started handler that executes the code in its payload."""

    def __init__(self, runner: Running, launch: RunnerLaunch) -> None:
        self.runner = runner
        self.launch = launch

    async def found(self, code: str) -> Any:
        """Run the code in the handler. Return the value of its variable `found`."""
        payload = json.dumps(textwrap.dedent(code)).encode()
        outcome = await self.runner.run(job(payload))
        assert isinstance(outcome, Completed), outcome
        return json.loads(outcome.result_json)["found"]


@dataclass(frozen=True)
class Api:
    """One API of a machine. A test writes the files of its project."""

    name: str
    machine: Machine

    @property
    def folder(self) -> Path:
        return self.machine.data / "run" / f"{self.name}-0" / "release"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def write(self, name: str, text: str) -> Path:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    async def start(self, *, init: str = "", **inputs: Any) -> Handler:
        """Prepare a release and start its handler, which ends with the test.

        `init` is code for the handler's __init__. `inputs` replace fields of EnvironmentInputs.
        """
        self.write("handler.py", EXECUTES)
        settings = ViewSettings(
            self.machine.sandbox, self.name, self.folder.parent, (self.machine.data,), self.machine.hosts, confined=True
        )
        view = View(settings, self.folder, self.project)
        self.machine.ending.callback(view.close)
        wanted = EnvironmentInputs(self.project, dict(os.environ), base_set=())
        python = await ensure_environment(replace(wanted, **inputs), self.machine.cache, view)
        launch = RunnerLaunch(
            python=python,
            project=self.project,
            view=view,
            api=self.name,
            handler_path="handler.py",
            python_path=None,
            config={"init": textwrap.dedent(init)},
            environment={"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ["HOME"]},
        )
        return await self.start_again(launch)

    async def start_again(self, launch: RunnerLaunch) -> Handler:
        """Start another handler of a prepared release, as after a crash."""
        runner = await Running.start(launch, lines=Printed())
        self.machine.ending.push_async_callback(runner.process.stop, 0)
        return Handler(runner, launch)

    async def stop(self) -> None:
        """End every handler of the machine, and release the layers."""
        await self.machine.ending.aclose()


@dataclass(frozen=True)
class Machine:
    """A data directory, a cache and a hosts file, which several APIs share."""

    sandbox: Sandbox
    data: Path
    cache: Path
    hosts: Path
    ending: AsyncExitStack

    def api(self, name: str) -> Api:
        api = Api(name, self)
        api.project.mkdir(parents=True)
        return api


@pytest.fixture(scope="package")
def machine_cache() -> Iterator[Path]:
    with TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "cache"


@pytest.fixture
async def machine(machine_cache: Path) -> AsyncIterator[Machine]:
    """Return a machine. Its folders are below /tmp, which a handler's view replaces. Its cache has no environment."""
    with TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        async with AsyncExitStack() as ending:
            yield _machine(Path(folder), machine_cache, ending)
    remove_environments(machine_cache)


def _machine(tmp_path: Path, cache: Path, ending: AsyncExitStack) -> Machine:
    hosts = tmp_path / "data" / "run" / "hosts"
    hosts.parent.mkdir(parents=True)
    hosts.write_text("127.0.0.1 localhost\n127.8.7.6 api-echo\n")
    (tmp_path / "data" / "keys.json").write_text("secret")
    return Machine(complete_sandbox(tmp_path), tmp_path / "data", cache, hosts, ending)


@dataclass(frozen=True)
class Isolated:
    """A stack of an ordinary user or of root, with two APIs that execute the code in their payload."""

    stack: Stack
    user: OrdinaryUser
    is_root: bool

    @property
    def data(self) -> Path:
        return Path(self.stack.info["data"])

    def run(self, api: str, code: str, **values: object) -> Any:
        """Run the code in a handler of `api`. Return its variable `found`. `values` are variables that it can read."""
        lines = [f"{name} = {value!r}" for name, value in values.items()]
        payload = "\n".join([*lines, textwrap.dedent(code)])
        answer = HttpApi(f"{self.stack.public}/{api}").run(json.dumps(payload).encode(), "application/json")
        assert answer["status"] == "completed", answer
        return answer["result"]["found"]


@pytest.fixture(scope="package")
def user() -> Iterator[OrdinaryUser]:
    with ordinary_user() as user:
        yield user


@pytest_asyncio.fixture(scope="package", loop_scope="session", params=["ordinary", "root"])
async def isolated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, user: OrdinaryUser
) -> AsyncGenerator[Isolated]:
    complete_sandbox(tmp_path_factory.mktemp("probe"))
    is_root = request.param == "root"
    if is_root and os.geteuid() != 0:
        pytest.skip("only root can run a stack as root")
    data = tmp_path_factory.mktemp("stack") / "data" if is_root else user.folder("data")
    project = (ROOT if is_root else user.root) / PROJECT
    home: dict[str, Any] = {} if is_root else {"HOME": "/nonexistent"}
    required = ["--isolation", "required"]
    async with running_stack([project], data=data, options=required, user=None if is_root else user, **home) as stack:
        yield Isolated(stack, user, is_root)
