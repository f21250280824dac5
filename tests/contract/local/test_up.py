"""`insula up` as a user sees it: its output, the environment of handlers, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import pytest
import pytest_asyncio
from redis import Redis

from insula import Client
from insula_local.parts import WORKER_GRACE_S
from tests.addresses import free_addresses
from tests.contract.local.test_refusals import up, write_project
from tests.http_api import HttpApi
from tests.processes import command_line, descendants, memory_mb
from tests.stack import Stack, running_stack
from tests.valkey import running_valkey
from tests.waiting import until

PROBE = Path(__file__).parents[2] / "projects" / "probe"
CALLER = PROBE.with_name("probe-caller")
EXAMPLE = Path(__file__).parents[3] / "examples" / "language-identifier"
S3_HANDLER = """
import boto3, os

class Handler:
    def __init__(self, config):
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket="models")

    def handle_async(self, payload):
        self.s3.put_object(Bucket="models", Key="key", Body=payload)
        try:
            self.s3.list_objects_v2(Bucket="insula")
            ours = "readable"
        except self.s3.exceptions.ClientError as error:
            ours = error.response["Error"]["Code"]
        print("handled", len(payload), "bytes")
        return {"stored": self.s3.get_object(Bucket="models", Key="key")["Body"].read().decode(), "ours": ours}
"""


@asynccontextmanager
async def started(project: Path, data: Path, **environment: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Start a stack. The test ends its process; otherwise it is killed when the block ends."""
    port, address = free_addresses()
    where = ("--data", str(data), "--public-port", str(port), "--internal-address", address)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "insula.cli.main", "up", str(project), *where, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def first_line(process: asyncio.subprocess.Process) -> Stack:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 120)
    return Stack(process.pid, json.loads(line))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Stack, Path]]:
    """A stack with four APIs, and a path. One API uses S3. One fails until the path exists. One calls the probe."""
    folder = tmp_path_factory.mktemp("whole")
    gate = folder / "gate"
    broken = write_project(
        folder / "broken",
        "- name: broken\n  kind: AsyncAPI\n  handler: {type: python, path: handler.py}\n",
        f"import pathlib\n{{}}['key'] if not pathlib.Path({str(gate)!r}).exists() else None\n"
        "class Handler:\n    def handle_async(self, payload):\n        return {}\n",
    )
    project = write_project(folder / "project", handler=S3_HANDLER)
    async with running_stack([project, broken, PROBE, CALLER], data=folder / "data") as stack:
        yield stack, gate


@pytest.mark.slow
def test_handlers_find_the_local_s3_and_each_other(whole: tuple[Stack, Path]) -> None:
    """A handler uses boto3 without configuration, and calls another API by its short name.

    It cannot read Insula's bucket.
    """
    stack, _ = whole
    assert [stack.state(api) for api in ("api", "probe", "probe-caller")] == [("ready", "")] * 3
    answer = HttpApi(f"{stack.public}/api").run(b"hello", "text/plain")
    assert answer["result"] == {"stored": "hello", "ours": "AccessDenied"}
    called = HttpApi(f"{stack.public}/team/caller").run(b'{"return": {"n": 1}}', "application/json")
    assert called["result"]["callee"]["result"] == {"n": 1}
    s3 = boto3.client(
        "s3",
        endpoint_url=stack.s3_env["AWS_ENDPOINT_URL_S3"],
        region_name=stack.s3_env["AWS_REGION"],
        aws_access_key_id=stack.s3_env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stack.s3_env["AWS_SECRET_ACCESS_KEY"],
    )
    assert s3.get_object(Bucket="models", Key="key")["Body"].read() == b"hello"


@pytest.mark.slow
def test_an_api_that_fails_does_not_affect_the_others(whole: tuple[Stack, Path]) -> None:
    """The stack reports the API as failing, with a reason. Once its handler can start, it serves."""
    stack, gate = whole
    state, reason = stack.state("broken")
    assert state == "failing"
    assert "KeyError" in reason
    assert stack.state("probe") == ("ready", "")
    assert HttpApi(f"{stack.public}/probe").run(b"{}", "application/json")["status"] == "completed"
    id = HttpApi(f"{stack.public}/broken").submit(b"{}", "application/json")
    gate.touch()
    assert HttpApi(f"{stack.public}/broken").end(id)["status"] == "completed"


@pytest.mark.slow
def test_workloads_complete_after_all_stores_are_killed_at_once(whole: tuple[Stack, Path]) -> None:
    """Valkey, SeaweedFS, submit and the worker are killed while workloads are queued and running."""
    stack, _ = whole
    api = HttpApi(f"{stack.public}/probe")
    ids = [api.submit(b'{"sleep_s": 0.05}', "application/json") for _ in range(40)]
    for part in ("valkey", "seaweedfs", "submit"):
        stack.kill(part)
    stack.kill("worker", "probe")
    assert {api.end(id, within_s=90)["status"] for id in ids} == {"completed"}


@pytest.mark.slow
async def test_one_data_directory_serves_one_stack(tmp_path: Path) -> None:
    """A second `insula up` is refused, with the pid of the first. After SIGKILL of the first, a second one can start.

    All processes of the first one, its runners too, end within 5 s.
    """
    data = tmp_path / "data"
    async with started(PROBE, data) as first:
        stack = await first_line(first)
        refusal = up(tmp_path, PROBE, "--data", data)
        assert refusal.code == 2
        assert f"in use by the `insula up` with pid {first.pid}" in refusal.text
        HttpApi(f"{stack.public}/probe").submit(b'{"sleep_s": 60}', "application/json")
        children = descendants(first.pid)
        first.kill()
        await first.wait()
        async with started(PROBE, data) as second:
            await until(lambda: [each for pid, each in children.items() if command_line(pid) == each] == [], within_s=5)
            again = await first_line(second)
            assert again.state("probe") == ("ready", "")


@pytest.mark.slow
async def test_a_signal_stops_every_child_within_10_s_and_loses_no_result(tmp_path: Path) -> None:
    """After SIGTERM or SIGINT the exit code is 0, also while a handler is busy.

    After a restart on other addresses, results in Redis and in S3 can be read. The stack has up to three tries for each
    signal; the fastest counts.
    """
    data = tmp_path / "data"
    async with started(PROBE, data) as process:
        stack = await first_line(process)
        api = HttpApi(f"{stack.public}/probe")
        small = api.run(b"{}", "application/json")
        large = api.run(json.dumps({"return": {"text": "x" * 100_000}}).encode(), "application/json")
        keys = stack.s3_env["AWS_SECRET_ACCESS_KEY"]
        stops_s = {signal.SIGTERM: [await stopped_by(signal.SIGTERM, process, api)]}
    async with started(PROBE, data) as process:
        stack = await first_line(process)
        api = HttpApi(f"{stack.public}/probe")
        assert api.end(small["id"]) == small
        assert api.end(large["id"]) == large
        assert stack.s3_env["AWS_SECRET_ACCESS_KEY"] == keys
        stops_s[signal.SIGINT] = [await stopped_by(signal.SIGINT, process, api)]
    for number, times in stops_s.items():
        while min(times) >= 10 and len(times) < 3:
            async with started(PROBE, data) as process:
                api = HttpApi(f"{(await first_line(process)).public}/probe")
                times.append(await stopped_by(number, process, api))
        assert min(times) < 10, number


async def stopped_by(number: signal.Signals, process: asyncio.subprocess.Process, api: HttpApi) -> float:
    """Stop a busy stack with the signal. Return the duration in seconds."""
    api.submit(b'{"sleep_s": 60}', "application/json")
    children = descendants(process.pid)
    assert len(children) >= 8
    began = time.monotonic()
    process.send_signal(number)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    took_s = time.monotonic() - began
    assert process.returncode == 0
    assert b"Stopped after" in errors
    assert [children[pid] for pid in children if command_line(pid) == children[pid]] == []
    return took_s


@pytest.mark.slow
async def test_a_second_ctrl_c_kills_all_parts_at_once(tmp_path: Path) -> None:
    async with started(PROBE, tmp_path / "data") as process:
        stack = await first_line(process)
        api = HttpApi(f"{stack.public}/probe")
        id = api.submit(b'{"sleep_s": 60}', "application/json")
        stack.wait_for_status("probe", id, "in_progress")
        children = descendants(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while b"Stopping" not in await process.stderr.readline():
            continue
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 60)
        assert time.monotonic() - began < WORKER_GRACE_S, "it must not wait for the handler"
        await until(lambda: not any(command_line(pid) for pid in children))


@pytest.mark.slow
async def test_the_users_own_redis_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with running_valkey(folder) as valkey:
        async with started(PROBE, tmp_path / "data", INSULA_REDIS_URL=valkey.url) as process:
            stack = await first_line(process)
            assert stack.info["redis"] == valkey.url
            assert stack.processes("valkey") == []
            with Client(stack.public) as client:
                assert client.wait("probe", client.submit("probe", "text")).status == "completed"
            assert stack.counts("probe")["completed"] == 1
            process.terminate()
            await process.wait()


@pytest.mark.slow
async def test_insula_up_ends_if_a_part_cannot_start(tmp_path: Path) -> None:
    """The submit service refuses a Redis that may lose answered writes. `insula up` prints the reason and exits."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with running_valkey(folder) as valkey:
        with Redis.from_url(valkey.url) as client:
            client.config_set("appendfsync", "everysec")
        async with started(PROBE, tmp_path / "data", INSULA_REDIS_URL=valkey.url) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            stderr = b"".join([line async for line in process.stderr])
            stdout = await process.stdout.read()
            await process.wait()
    assert process.returncode == 1
    assert stdout == b""
    assert b"appendfsync everysec" in stderr


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of the services")
async def test_an_idle_stack_takes_under_450_mb(tmp_path: Path) -> None:
    """It is the sum of all processes with the example of `make demo`, whose numpy and model take 100 MB."""
    async with running_stack([EXAMPLE], data=tmp_path / "data") as stack:
        await until(lambda: sum(taken_mb(stack).values()) < 450, within_s=30, shown=lambda: taken_mb(stack))


def taken_mb(stack: Stack) -> dict[str, float]:
    """Return the proportional set size of each process: a page that n processes share counts as 1/n page.

    Until the stack is idle, this includes short-lived processes.
    """
    commands = {stack.pid: "insula up"} | descendants(stack.pid)
    return {f"{pid} {command[:80]}": memory_mb(pid, "Pss", "smaps_rollup") for pid, command in commands.items()}


FAILING_ROLLOUT = """
from insula.cli.main import run
from insula_local.rollout.rollout import Rollout

async def follow(rollout):
    raise RuntimeError("boom")

Rollout.follow = follow
run()
"""


@pytest.mark.slow
def test_an_unexpected_error_is_logged_and_stops_the_stack(tmp_path: Path) -> None:
    """`insula up` stops the parts and exits with 1. The traceback is in one log line."""
    port, address = free_addresses()
    where = ("--data", str(tmp_path / "data"), "--public-port", str(port), "--internal-address", address)
    done = subprocess.run(
        [sys.executable, "-c", FAILING_ROLLOUT, "up", str(write_project(tmp_path / "project")), *where, "--log=json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    [line] = [line for line in done.stderr.splitlines() if '"insula up failed"' in line]
    assert "RuntimeError: boom" in json.loads(line)["traceback"]
    assert "Stopped after" in done.stderr.splitlines()[-1]
