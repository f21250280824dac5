"""`insula up --replicas`: several workers of one API on one machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import requests

from insula.project import read_project
from insula.rpc.admin_client import AdminClient
from tests.http_api import HttpApi
from tests.processes import command_line, descendants
from tests.stack import Stack, running_stack
from tests.waiting import until

CONFIG = """\
- {name: several, kind: AsyncAPI, handler: {type: python, path: handler.py}}
- {name: single, kind: AsyncAPI, handler: {type: python, path: handler.py}}
"""
HANDLER = """
import time


class Handler:
    def handle_async(self, payload):
        time.sleep(0.1)
        return {{"version": {version}}}
"""
WORKERS = ("several", "several.1", "several.2")
"""The workers of `several` as `insula up` names them."""


def write(project: Path, version: int) -> Path:
    project.mkdir(exist_ok=True)
    (project / "cortex.yaml").write_text(CONFIG)
    (project / "handler.py").write_text(HANDLER.format(version=version))
    return project


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def several(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Stack, Path]]:
    """A stack with three workers of the API `several` and one of `single`, and their project."""
    folder = tmp_path_factory.mktemp("replicas")
    project = write(folder / "project", version=1)
    async with running_stack([project], data=folder / "data", options=["--replicas", "several=3"]) as stack:
        yield stack, project


def started(stack: Stack, worker: str) -> list[str]:
    """Return the ids of the workloads that this worker has started."""
    return [line["id"] for line in stack.log_records(worker) if line.get("message") == "processing workload..."]


def insula(*arguments: str) -> str:
    command = [sys.executable, "-m", "insula.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.slow
def test_the_workers_of_an_api_share_its_workloads(several: tuple[Stack, Path]) -> None:
    stack, _ = several
    api = HttpApi(f"{stack.public}/several")
    ids = [api.submit(b"{}", "application/json") for _ in range(24)]
    assert {api.end(id)["status"] for id in ids} == {"completed"}
    by_worker = {worker: started(stack, worker) for worker in WORKERS}
    assert sorted(id for found in by_worker.values() for id in found) == sorted(ids)
    assert all(by_worker.values())


@pytest.mark.slow
def test_get_and_describe_show_every_worker(several: tuple[Stack, Path]) -> None:
    """Each has its own name and its own metrics."""
    stack, _ = several
    admin = stack.info["admin"]
    rows = {row.split()[0]: row.split() for row in insula("get", "--admin", admin).splitlines()}
    assert (rows["several"][3], rows["single"][3]) == ("3/3", "1/1")
    described: dict[str, Any] = json.loads(insula("describe", "several", "--admin", admin))
    names = ["several-0", "several-1", "several-2"]
    assert [(worker["name"], worker["phase"]) for worker in described["workers"]] == [(name, "ready") for name in names]
    metrics: dict[str, str] = stack.info["metrics"]["workers"]
    assert set(metrics) == {*WORKERS, "single"}
    assert all("cortex_async_active" in requests.get(url, timeout=10).text for url in metrics.values())


@pytest.mark.slow
async def test_nothing_is_lost_if_one_of_them_is_killed(several: tuple[Stack, Path]) -> None:
    """Its workloads run again. Each ends once."""
    stack, _ = several
    api = HttpApi(f"{stack.public}/several")
    before = len(started(stack, "several.1"))
    ids = [api.submit(b"{}", "application/json") for _ in range(40)]
    await until(lambda: len(started(stack, "several.1")) > before)
    stack.kill("worker", "several.1")
    assert {api.end(id)["status"] for id in ids} == {"completed"}
    ended = Counter(id for id, status in stack.updates("several") if status in ("completed", "failed", "cancelled"))
    assert {id: ended[id] for id in ids} == dict.fromkeys(ids, 1)
    await until(lambda: len(stack.processes("worker", "several.1")) > 0)


@pytest.mark.slow
async def test_every_worker_gets_a_new_version(several: tuple[Stack, Path]) -> None:
    stack, folder = several
    project = next(each for each in read_project(write(folder, version=2)) if each.spec.name == "several")
    with AdminClient.at(stack.info["admin"]) as client:
        version = client.deploy(project.spec, project.bundle()).version

    def states() -> list[tuple[str, str, str]]:
        return [(worker.name, worker.version, worker.phase) for worker in stack.api("several").workers]

    await until(lambda: states() == [(f"several-{number}", version, "ready") for number in range(3)], shown=states)
    api = HttpApi(f"{stack.public}/several")
    ids = [api.submit(b"{}", "application/json") for _ in range(12)]
    assert [api.end(id)["result"] for id in ids] == [{"version": 2}] * len(ids)


@pytest.mark.slow
async def test_all_of_them_end_with_the_stack_and_the_queue_is_kept(tmp_path: Path) -> None:
    """The next start may have another number of workers."""
    project = write(tmp_path / "project", version=1)
    async with running_stack([project], data=tmp_path / "data", options=["--replicas", "several=2"]) as stack:
        processes = descendants(stack.pid)
        assert sum("insula_worker several" in command for command in processes.values()) >= 2
        api = HttpApi(f"{stack.public}/several")
        ids = [api.submit(b"{}", "application/json") for _ in range(60)]
    assert [command for command in map(command_line, processes) if command] == []
    async with running_stack([project], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/several")
        assert {api.end(id)["status"] for id in ids} == {"completed"}
        assert [worker.name for worker in stack.api("several").workers] == ["several-0"]
