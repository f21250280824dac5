"""`insula up --replicas` and `--processes`: several workers of one API, several processes of submit and results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import requests

from insula.project import read_project
from insula.rpc.admin_client import AdminClient
from insula_envoy import admin as envoy_admin
from tests.http_api import HttpApi
from tests.processes import command_line, descendants
from tests.stack import ENDED, Stack, running_stack
from tests.waiting import until

CONFIG = """\
- {name: several, kind: AsyncAPI, handler: {type: python, path: handler.py}}
- {name: single, kind: AsyncAPI, handler: {type: python, path: handler.py}}
"""
HANDLER = """
import time


class Handler:
    def handle_async(self, payload):
        time.sleep(payload.get("sleep_s", 0.1))
        return {{"version": {version}}}
"""
WORKERS = ("several", "several.1", "several.2")
"""The workers of `several` as `insula up` names them."""
SERVICES = ("submit", "results")
CALLERS = 4


def write(project: Path, version: int) -> Path:
    project.mkdir(exist_ok=True)
    (project / "cortex.yaml").write_text(CONFIG)
    (project / "handler.py").write_text(HANDLER.format(version=version))
    return project


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def several(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Stack, Path]]:
    """A stack with three workers of the API `several` and one of `single`, and their project.

    Submit and results are two processes each.
    """
    folder = tmp_path_factory.mktemp("replicas")
    project = write(folder / "project", version=1)
    options = ["--replicas", "several=3", "--processes", "2"]
    async with running_stack([project], data=folder / "data", options=options) as stack:
        yield stack, project


def started(stack: Stack, worker: str) -> list[str]:
    """Return the ids of the workloads that this worker has started."""
    return [line["id"] for line in stack.log_records(worker) if line.get("message") == "processing workload..."]


def calls_by_process(stack: Stack) -> dict[str, int]:
    """Return the calls that Envoy has sent to each process of submit and results, by the name of its socket."""
    admin = Path(stack.info["admin"].removeprefix("unix://")).with_name("envoy-admin.sock")
    rows = (line.split("::") for line in envoy_admin.call(admin, "GET", "/clusters").splitlines())
    return {Path(row[1]).stem: int(row[3]) for row in rows if row[2:3] == ["rq_total"] and row[0].endswith("_http")}


def every_process_gets_calls(stack: Stack, before: dict[str, int]) -> bool:
    """Whether each process has got more than 20 calls since `before`."""
    now = calls_by_process(stack)
    assert set(now) == {f"{name}-http" for name in ("submit", "submit-2", "results", "results-2")}
    return all(now[name] - before[name] > 20 for name in now)


@dataclass
class Calls:
    """Ids of accepted submits, and the status codes of refused submits and of reads."""

    ids: list[str] = field(default_factory=list[str])
    refused: list[int] = field(default_factory=list[int])
    reads: set[int] = field(default_factory=set[int])


@contextmanager
def calling(url: str) -> Generator[Calls]:
    """Submit and read workloads in CALLERS threads until the block ends."""
    calls, stop = Calls(), threading.Event()

    def call() -> None:
        while not stop.is_set():
            submit = requests.post(url, json={"sleep_s": 0}, timeout=60)
            if submit.status_code != 200:
                calls.refused.append(submit.status_code)
                continue
            id = submit.json()["id"]
            calls.ids.append(id)
            calls.reads.add(requests.get(f"{url}/{id}", timeout=60).status_code)

    with ThreadPoolExecutor(CALLERS) as threads:
        running = [threads.submit(call) for _ in range(CALLERS)]
        try:
            yield calls
        finally:
            stop.set()
    for each in running:
        each.result()


def ends(stack: Stack, api: str, ids: list[str]) -> dict[str, int]:
    """Return how often each workload has ended."""
    found = Counter(id for id, status in stack.updates(api) if status in ENDED)
    return {id: found[id] for id in ids}


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
    assert ends(stack, "several", ids) == dict.fromkeys(ids, 1)
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
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_lost_if_a_process_of_each_service_ends(
    several: tuple[Stack, Path], number: signal.Signals
) -> None:
    """Both processes of a service get calls, and an ended one is started again.

    A submit that a killed process may have read is not repeated: its caller gets 503. No other call fails.
    """
    stack, _ = several
    with calling(f"{stack.public}/single") as calls:
        await until(partial(every_process_gets_calls, stack, calls_by_process(stack)))
        ended = {service: stack.processes(service)[0] for service in SERVICES}
        for pid in ended.values():
            os.kill(pid, number)
        await until(lambda: all(len({*stack.processes(name)} - {pid}) == 2 for name, pid in ended.items()))
        await until(partial(every_process_gets_calls, stack, calls_by_process(stack)))
    assert set(calls.refused) <= {503}
    assert len(calls.refused) <= (CALLERS if number == signal.SIGKILL else 0)
    assert calls.reads == {200}
    await until(lambda: ends(stack, "single", calls.ids) == dict.fromkeys(calls.ids, 1))


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
