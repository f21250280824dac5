"""A scripted KEDA scales real workers of the real stack: from zero, up under load, and back to zero."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from redis.exceptions import RedisError

from insula.externalscaler.externalscaler_pb2 import GetMetricsRequest, ScaledObjectRef
from insula.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from insula.kubernetes.scaled_object import scaled_object
from insula.project import ApiSpec, read_project
from insula.rpc.admin_client import AdminClient
from tests.addresses import free_port
from tests.autoscalers import Cortex
from tests.contract.scaling.keda import Keda
from tests.contract.scaling.replicas import Results, start, stop, two_results
from tests.stack import Stack, running_stack
from tests.waiting import until, until_awaited

SLEEPER = Path(__file__).parents[2] / "projects" / "sleeper"
TOKEN = "a token"
WAKE_S = 3
POLL_S, SYNC_S = 3, 5
"""Pauses of KEDA's loop and of the HPA's. On a cluster they are 10 s and 15 s."""
WORKLOADS, EACH_S = 30, 1.5
SCALING = """\
  autoscaling:
    min_replicas: 0
    max_replicas: 3
    target_replica_concurrency: 2
    window: 10s
    max_upscale_factor: 2
    max_downscale_factor: 0.5
    upscale_stabilization_period: 0s
    downscale_stabilization_period: 0s
"""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack([SLEEPER], data=tmp_path / "data") as running:
        yield running


@pytest.fixture
def stores(stack: Stack) -> dict[str, str]:
    """Return the settings with which another process uses the stores of the stack."""
    return {"INSULA_REDIS_URL": stack.info["redis"], **stack.own_s3_env, "INSULA_ADMIN_TOKEN": TOKEN}


@pytest.fixture
async def api(stack: Stack, stores: dict[str, str], tmp_path: Path) -> ApiSpec:
    """Return the API `scaled`, deployed without a worker: `insula up` starts workers for its own deployments only."""
    project = tmp_path / "scaled"
    project.mkdir()
    (project / "handler.py").write_bytes((SLEEPER / "handler.py").read_bytes())
    configuration = (SLEEPER / "cortex.yaml").read_text().replace("name: sleeper", "name: scaled")
    (project / "cortex.yaml").write_text(configuration + SCALING)
    [read] = read_project(project)
    address = f"127.0.0.1:{free_port()}"
    submit = start(
        "insula_submit", {**stores, "INSULA_LISTEN": f"127.0.0.1:{free_port()}", "INSULA_ADMIN_LISTEN": address}
    )
    try:
        with AdminClient.at(address, TOKEN) as client:
            assert await asyncio.to_thread(client.answers, 60)
            await asyncio.to_thread(client.deploy, read.spec, read.bundle())
    finally:
        await asyncio.to_thread(stop, submit)
    return read.spec


class Deployment:
    """Workers of one API. A replica that is not wanted any more drains, as a pod does."""

    def __init__(self, stores: Mapping[str, str], folder: Path) -> None:
        self._stores, self._folder = stores, folder
        self.running: list[subprocess.Popen[bytes]] = []
        self.stopped: list[subprocess.Popen[bytes]] = []

    def scale(self, replicas: int) -> None:
        """Start or stop workers."""
        while len(self.running) < replicas:
            name = f"worker-{len(self.running) + len(self.stopped)}"
            places = {"INSULA_LISTEN": f"127.0.0.1:{free_port()}", "INSULA_SCRATCH": f"{self._folder}/{name}"}
            own = {"INSULA_API": "scaled", "INSULA_WORKER": name, **places}
            self.running.append(start("insula_worker", {**self._stores, **own}))
        while len(self.running) > replicas:
            self.stopped.append(self.running.pop())
            self.stopped[-1].terminate()

    def exit_codes(self) -> list[int]:
        """Wait for all workers that were stopped."""
        return [process.wait(60) for process in self.stopped]


@pytest.fixture
async def deployment(stores: dict[str, str], api: ApiSpec, tmp_path: Path) -> AsyncIterator[Deployment]:
    workers = Deployment(stores, tmp_path)
    yield workers
    workers.scale(0)
    await asyncio.to_thread(workers.exit_codes)


async def post(stack: Stack, count: int, seconds: float) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            async with session.post(f"{stack.public}/scaled", data=str(seconds)) as reply:
                assert reply.status == 200, await reply.text()


async def values(replicas: tuple[Results, Results]) -> list[float]:
    """Return the metric from each replica of results, asked at the same time."""
    reference = ScaledObjectRef(scalerMetadata={"api": "scaled"})
    found: list[float] = []
    for replica in replicas:
        async with grpc.aio.insecure_channel(replica.scaler) as channel:
            scaler: Any = ExternalScalerStub(channel)
            [value] = (await scaler.GetMetrics(GetMetricsRequest(scaledObjectRef=reference))).metricValues
            found.append(value.metricValueFloat)
    return found


def completed(stack: Stack) -> int | None:
    """Return the number of completed workloads; None while Redis is down."""
    try:
        return stack.counts("scaled").get("completed", 0)
    except RedisError:
        return None


def path(counts: list[int]) -> list[int]:
    """Return the counts without repetitions, up to the first peak."""
    rising = counts[: counts.index(max(counts)) + 1]
    return [count for number, count in enumerate(rising) if number == 0 or count != rising[number - 1]]


async def test_workers_follow_the_load_from_zero_and_back(
    stack: Stack, stores: dict[str, str], api: ApiSpec, deployment: Deployment
) -> None:
    """Meanwhile one replica of results is killed, and Redis. Every workload is completed."""
    with two_results(stores) as replicas:
        addresses = "ipv4:" + ",".join(replica.scaler for replica in replicas)
        rendered = scaled_object(api, deployment="api-scaled", labels={}, scaler_address=addresses)
        keda = Keda(rendered, deployment.scale, POLL_S, SYNC_S)
        async with keda.running():
            assert keda.target == 2
            await asyncio.sleep(0)
            assert deployment.running == []

            # One workload wakes the API.
            await post(stack, 1, 0.1)
            await until(lambda: len(deployment.running) == 1, within_s=WAKE_S)
            assert keda.changes[0].cause == "push"
            await until(lambda: completed(stack) == 1)

            # More replicas under load. Both replicas of results have the same value, until one is killed.
            await post(stack, WORKLOADS, EACH_S)

            async def same() -> bool:
                first, second = await values(replicas)
                return first == second > keda.target

            await until_awaited(same)
            await until(lambda: keda.replicas == 2)
            replicas[0].process.kill()
            await until(lambda: keda.replicas == 3)
            stack.kill("valkey")
            await until(lambda: completed(stack) == WORKLOADS + 1, shown=lambda: keda.changes)
            assert keda.replicas == 3

            # None left.
            await until(lambda: keda.replicas == 0, shown=lambda: keda.changes)
    assert set(await asyncio.to_thread(deployment.exit_codes)) == {0}
    assert stack.counts("scaled") == {"completed": WORKLOADS + 1, "in_queue": 0, "in_progress": 0}

    cortex = Cortex(api.autoscaling, replicas=1)
    assert path([1, *(change.replicas for change in keda.changes)]) == path(
        [1, *(cortex.decide(at_s, value) for at_s, value in keda.values)]
    )
