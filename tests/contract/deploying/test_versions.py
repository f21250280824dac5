"""A new version on a running stack: it replaces the old one once it is ready. No workload is lost or runs twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
import requests
from redis import Redis

from insula.keys import ApiKeys
from insula.project import read_project
from insula.registry import version_of
from insula.rpc.admin_client import AdminClient
from insula.stores.object_keys import bundle_object
from insula.v1.api_service_pb2 import Api, RefreshApiRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula_local.seaweedfs.storage import BUCKET
from tests.addresses import free_port
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until

HANDLER = """
import os
import time


class Handler:
    def __init__(self, config):
        {init}

    def handle_async(self, payload, request_id):
        with open(payload["log"], "a") as log:
            log.write(request_id + "\\n")
        while "gate" in payload and not os.path.exists(payload["gate"]):
            time.sleep(0.02)
        return {{"version": {version}, "files": os.path.exists("handler.py")}}
"""


_numbers = itertools.count()


@dataclass(frozen=True)
class Versioned:
    """One test's API on the shared stack, and its project. The test may change the project and deploy it again."""

    stack: Stack
    project: Path
    name: str

    @property
    def api(self) -> HttpApi:
        return HttpApi(f"{self.stack.public}/{self.name}")

    @property
    def gate(self) -> Path:
        return self.project.parent / "gate"

    def payload(self, *, gated: bool = False) -> bytes:
        """Return a payload. If it is gated, the handler waits until the file `gate` exists."""
        gate = {"gate": str(self.gate)} if gated else {}
        return json.dumps({"log": str(self.project.parent / "runs"), **gate}).encode()

    def runs(self) -> list[str]:
        return (self.project.parent / "runs").read_text().split()

    def deploy(self, version: int, init: str = "pass") -> str:
        write(self.project, version, init)
        [project] = read_project(self.project)
        with AdminClient.at(self.stack.info["admin"]) as client:
            return client.deploy(project.spec, project.bundle()).version

    def describe(self) -> Api:
        return self.stack.api(self.name)

    async def until(self, state: str) -> Api:
        await until(lambda: self.describe().state == state)
        return self.describe()

    def runners(self) -> list[int]:
        """Return the process ids of the API's runners."""
        return self.stack.processes("runner", self.name)

    def kill_worker(self) -> None:
        self.stack.kill("worker", self.name)


def write(project: Path, version: int, init: str = "pass") -> None:
    (project / "handler.py").write_text(HANDLER.format(init=init, version=version))


def write_project(folder: Path, name: str, update_strategy: str = "{}") -> Path:
    folder.mkdir()
    (folder / "cortex.yaml").write_text(
        f"- {{name: {name}, kind: AsyncAPI, handler: {{type: python, path: handler.py}}, "
        f"update_strategy: {update_strategy}}}\n"
    )
    write(folder, 1)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("versions")
    async with running_stack([write_project(folder / "project", "resident")], data=folder / "data") as running:
        yield running


@pytest.fixture
async def versioned(stack: Stack, tmp_path: Path) -> Versioned:
    return await new_api(stack, tmp_path)


async def new_api(stack: Stack, folder: Path, init: str = "pass", update_strategy: str = "{}") -> Versioned:
    """Deploy a new API, and return once it is ready."""
    name = f"versioned-{next(_numbers)}"
    found = Versioned(stack, write_project(folder / "project", name, update_strategy), name)
    await asyncio.to_thread(found.deploy, 1, init)
    await found.until("ready")
    return found


async def test_a_bundle_that_was_changed_is_not_run(versioned: Versioned) -> None:
    """The version is failing, with a reason, until S3 has the deployed bundle again."""
    deployed, key, s3 = versioned.describe(), bundle_object(versioned.describe().version), versioned.stack.s3()
    original = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    ran = versioned.project.parent / "ran"
    write(versioned.project, 1, f"open({str(ran)!r}, 'w')")
    [changed] = read_project(versioned.project)
    s3.put_object(Bucket=BUCKET, Key=key, Body=changed.bundle())
    versioned.kill_worker()
    failing = await versioned.until("failing")
    assert f"configuration and bundle of version {deployed.version} hash to " in failing.reason
    assert key in failing.reason
    s3.put_object(Bucket=BUCKET, Key=key, Body=original)
    await versioned.until("ready")
    assert versioned.api.run(versioned.payload(), "application/json")["result"] == {"version": 1, "files": True}
    assert not ran.exists()


async def test_a_configuration_of_a_later_insula_is_failing(versioned: Versioned) -> None:
    """Two versions of Insula may share a Redis. A worker of the earlier one keeps serving the version it runs."""
    [project] = read_project(versioned.project)
    bundle, spec = project.bundle(), json.dumps({**json.loads(project.spec.to_json()), "later": 1})
    version = version_of(spec.encode(), bundle)
    versioned.stack.s3().put_object(Bucket=BUCKET, Key=bundle_object(version), Body=bundle)
    with Redis.from_url(versioned.stack.info["redis"]) as redis:
        redis.hset(ApiKeys(versioned.name).registration, mapping={"version": version, "spec": spec})
    failing = await versioned.until("failing")
    assert 'key "later" is not supported' in failing.reason
    assert versioned.api.run(versioned.payload(), "application/json")["result"]["version"] == 1


async def test_a_new_version_takes_over_without_losing_or_repeating_a_workload(versioned: Versioned) -> None:
    """Under load, every workload completes once, in either version. A workload after the deploy runs in the new one."""
    with ThreadPoolExecutor(8) as clients:
        before = [clients.submit(versioned.api.submit, versioned.payload(), "application/json") for _ in range(100)]
        version = await asyncio.to_thread(versioned.deploy, 2)
        during = [clients.submit(versioned.api.submit, versioned.payload(), "application/json") for _ in range(300)]
        api = await versioned.until("ready")
        assert (api.version, api.active_version) == (version, version)
        ids = [submit.result() for submit in before + during]
        answers = list(clients.map(versioned.api.end, ids))
    assert Counter(answer["status"] for answer in answers) == {"completed": 400}
    assert sorted(versioned.runs()) == sorted(ids), "each workload runs exactly once"
    assert answers[0]["result"] == {"version": 1, "files": True}
    assert versioned.api.run(versioned.payload(), "application/json")["result"] == {"version": 2, "files": True}
    assert {worker.version for worker in versioned.describe().workers if worker.phase == "ready"} == {version}


async def test_a_version_that_fails_never_replaces_one_that_works(versioned: Versioned) -> None:
    good = versioned.describe().version
    bad = await asyncio.to_thread(versioned.deploy, 2, "raise RuntimeError('no weights')")
    api = await versioned.until("failing")
    assert "no weights" in api.reason
    assert (api.version, api.active_version) == (bad, good)
    assert versioned.api.run(versioned.payload(), "application/json")["result"] == {"version": 1, "files": True}

    versioned.kill_worker()
    answer = versioned.api.run(versioned.payload(), "application/json")
    assert answer["result"] == {"version": 1, "files": True}, "a restarted worker begins with the version that worked"
    api = await versioned.until("failing")
    assert (api.version, api.active_version) == (bad, good)

    fixed = await asyncio.to_thread(versioned.deploy, 3)
    api = await versioned.until("ready")
    assert api.active_version == fixed
    assert versioned.api.run(versioned.payload(), "application/json")["result"] == {"version": 3, "files": True}


async def test_a_newer_version_is_started_if_the_last_good_one_does_not_start_any_more(versioned: Versioned) -> None:
    """A restarted worker begins with the version that worked before. If that one fails, it starts the newest."""
    gone = versioned.project.parent / "gone"
    await asyncio.to_thread(versioned.deploy, 2, f"assert not __import__('os').path.exists({str(gone)!r}), 'gone'")
    await versioned.until("ready")
    await asyncio.to_thread(versioned.deploy, 3, "raise RuntimeError('no weights')")
    await versioned.until("failing")
    gone.touch()
    versioned.kill_worker()
    fixed = await asyncio.to_thread(versioned.deploy, 4)
    api = await versioned.until("ready")
    assert api.active_version == fixed
    assert versioned.api.run(versioned.payload(), "application/json")["result"] == {"version": 4, "files": True}


async def test_a_version_deployed_again_while_it_still_runs_has_its_own_files(versioned: Versioned) -> None:
    """Version 1 is deployed, then 2, then 1 again. The end of the first deployment leaves the files of the third."""
    id = versioned.api.submit(versioned.payload(gated=True), "application/json")
    versioned.stack.wait_for_status(versioned.name, id, "in_progress")
    for version in (2, 1):
        await asyncio.to_thread(versioned.deploy, version)
        await versioned.until("ready")
    versioned.gate.touch()
    assert versioned.api.end(id)["result"] == {"version": 1, "files": True}
    await until(lambda: {worker.phase for worker in versioned.describe().workers} == {"ready"})
    assert versioned.api.run(versioned.payload(), "application/json")["result"] == {"version": 1, "files": True}


async def test_a_refresh_replaces_the_process_and_loses_nothing(versioned: Versioned) -> None:
    [before] = versioned.runners()
    with ThreadPoolExecutor(8) as clients:
        submits = [clients.submit(versioned.api.submit, versioned.payload(), "application/json") for _ in range(200)]
        with grpc.insecure_channel(versioned.stack.info["admin"]) as channel:
            ApiServiceStub(channel).RefreshApi(RefreshApiRequest(name=versioned.name))
        ids = [submit.result() for submit in submits]
        answers = list(clients.map(versioned.api.end, ids))
    assert Counter(answer["status"] for answer in answers) == {"completed": 200}
    await until(lambda: len(versioned.runners()) == 1 and before not in versioned.runners())
    assert sorted(versioned.runs()) == sorted(ids)


async def test_a_deleted_api_refuses_submits_and_its_workloads_can_be_read(versioned: Versioned) -> None:
    """The running workload completes and queued ones are cancelled. The API can be deployed again."""
    api, slow = versioned.api, versioned.payload(gated=True)
    done = api.run(versioned.payload(), "application/json")
    running = api.submit(slow, "application/json")
    versioned.stack.wait_for_status(versioned.name, running, "in_progress")
    waiting = [api.submit(slow, "application/json") for _ in range(3)]
    assert versioned.stack.delete(versioned.name) <= 3
    for id in waiting:  # the worker may have claimed one already: it puts that one back first
        assert api.end(id) == {"id": id, "status": "cancelled"}
    versioned.gate.touch()
    assert api.end(running)["status"] == "completed"
    assert api.end(done["id"]) == done
    assert requests.post(api.url, b"{}", headers={"Content-Type": "application/json"}, timeout=10).status_code == 404
    await asyncio.to_thread(versioned.deploy, 4)
    await versioned.until("ready")
    assert api.run(versioned.payload(), "application/json")["result"] == {"version": 4, "files": True}


async def test_deploying_an_unchanged_project_keeps_the_version(versioned: Versioned) -> None:
    before = versioned.describe()
    assert await asyncio.to_thread(versioned.deploy, 1) == before.version
    assert versioned.describe().update_time == before.update_time


async def test_without_surge_the_old_handler_ends_before_the_new_one_starts(stack: Stack, tmp_path: Path) -> None:
    """Each handler listens on the same port, so two at once would fail.

    Covers a deploy, a refresh, and the restart of the old version when the new one fails.
    """
    listens = f"self.own = __import__('socket').create_server(('127.0.0.1', {free_port()}))"
    versioned = await new_api(stack, tmp_path, listens, "{max_surge: 0}")
    api, good = versioned.api, ""

    begun = api.submit(versioned.payload(gated=True), "application/json")
    versioned.stack.wait_for_status(versioned.name, begun, "in_progress")
    good = await asyncio.to_thread(versioned.deploy, 2, listens)
    await until(lambda: "draining" in [worker.phase for worker in versioned.describe().workers])
    versioned.gate.touch()
    assert api.end(begun)["result"]["version"] == 1, "the running workload finishes first"
    await versioned.until("ready")
    assert api.run(versioned.payload(), "application/json")["result"]["version"] == 2
    assert versioned.runs().count(begun) == 1

    [before] = versioned.runners()
    with grpc.insecure_channel(versioned.stack.info["admin"]) as channel:
        ApiServiceStub(channel).RefreshApi(RefreshApiRequest(name=versioned.name))
    await until(lambda: before not in versioned.runners())
    assert api.run(versioned.payload(), "application/json")["result"]["version"] == 2

    write(versioned.project, 3, f"{listens}; raise RuntimeError('no weights')")
    command = [sys.executable, "-m", "insula.cli.main", "deploy", str(versioned.project)]
    admin = ["--admin", versioned.stack.info["admin"]]
    deployed = await asyncio.to_thread(subprocess.run, [*command, *admin], capture_output=True, text=True)
    assert (deployed.returncode, deployed.stdout) == (1, f"{versioned.name} failing\n")
    assert "no weights" in deployed.stderr
    assert f"the previous version {good[:12]} serves again" in deployed.stderr
    described = versioned.describe()
    assert (described.state, described.active_version) == ("failing", good)
    assert api.run(versioned.payload(), "application/json")["result"]["version"] == 2

    fixed = await asyncio.to_thread(versioned.deploy, 4, listens)
    assert (await versioned.until("ready")).active_version == fixed
    assert api.run(versioned.payload(), "application/json")["result"]["version"] == 4

    (versioned.project / "conda-packages.txt").write_text("no-such-package\n")  # and most machines have no conda
    await asyncio.to_thread(versioned.deploy, 5, listens)
    await versioned.until("failing")
    assert api.run(versioned.payload(), "application/json")["result"]["version"] == 4
    assert "conda" in versioned.describe().reason, "the old handler must still run if the installation fails"
    assert [worker.phase for worker in versioned.describe().workers] == ["ready", "failing"]
