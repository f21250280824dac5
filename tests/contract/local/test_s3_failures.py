"""A worker while S3 fails. It waits until an outage ends. One unreadable object fails only its own workload.

A failure is recorded at once. If S3 cannot store the traceback, Redis has the end of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from insula.errors import NotFound, ObjectUnreadable, StoreUnavailable
from insula.ids import new_id
from insula.ledger import Claimant, Failure, Lease, LedgerPolicy, Payload, Result, Workload, WorkloadLedger
from insula.phase import Phase
from insula.status import Status
from insula.stores import tracebacks
from insula.stores.object_keys import payload_object, traceback_object
from insula.stores.objects import Bucket, ObjectNotFound, ObjectStore
from insula.stores.redis_client import connect, connect_blocking
from insula_local.parts import Parts
from insula_local.seaweedfs.storage import BUCKET
from insula_worker.attempts.claiming import Claiming
from insula_worker.attempts.payloads import Patience
from insula_worker.runners.observers import Observers
from insula_worker.runners.pool import RunnerPool
from insula_worker.runners.process import RunnerLaunch
from tests.contract.local.conftest import Bench, prepare
from tests.contract.local.test_refusals import write_project
from tests.failing_s3 import FailingS3, failing_s3
from tests.handler_output import Printed
from tests.views import open_view
from tests.waiting import until, until_awaited

API = "echo"
END = " and its end\n"
RESULT = Result(inline=b'{"bytes": 100}')
FAIL = b"fail"
HANDLER = """class Handler:
    def handle_async(self, payload):
        if payload == b"fail":
            raise ValueError("x" * 10_000 + " and its end")
        return {"bytes": len(payload)}
"""
EVERY_READ = "(GET|HEAD) "
LEASE = timedelta(seconds=3)
STEP_S = 67.0


@dataclass
class Clock:
    """A clock that advances by `step_s` at each reading."""

    step_s: float = STEP_S
    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@dataclass
class Worker:
    """The objects of a worker, with real stores and a real runner. The proxy is in front of S3."""

    proxy: FailingS3
    ledger: WorkloadLedger
    objects: ObjectStore
    claiming: Claiming
    clock: Clock
    claims: asyncio.Task[None]

    @property
    def waiting(self) -> set[str]:
        """The workloads that wait for S3."""
        assert self.claiming.serving is not None
        return self.claiming.serving.attempts.payloads.waiting

    async def submit(self, *, large: bool, body: bytes = b"x" * 100) -> str:
        """Submit a workload and return its id. A large payload is in S3, a small one in Redis."""
        id = new_id()
        payload = Payload("application/octet-stream", size_bytes=len(body), inline=body)
        if large:
            payload = Payload("application/octet-stream", size_bytes=len(body), object=payload_object(API, id))
            await self.ledger.intend_upload(API, payload_object(API, id))
            await self.objects.write(payload_object(API, id), _once(body))
        await self.ledger.submit(API, id, payload, queue_limit=1000)
        return id

    async def read(self, id: str) -> Workload:
        workload = await self.ledger.read(API, id)
        assert workload is not None
        return workload

    async def ended(self, id: str) -> Workload:
        async def found() -> Workload | None:
            workload = await self.read(id)
            return workload if workload.status.ended else None

        workload = await until_awaited(found)
        assert workload is not None
        return workload


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


@pytest_asyncio.fixture
async def worker(bench: Bench, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    await asyncio.gather(bench.start_ready(parts.valkey()), bench.start_ready(parts.seaweedfs()))
    await prepare(bench, parts)
    project = write_project(tmp_path / "project", handler=HANDLER)
    launch = RunnerLaunch(
        python=Path(sys.executable),
        project=project,
        view=open_view(project),
        api=API,
        handler_path="handler.py",
        python_path=None,
        config={},
        environment={"PATH": os.environ["PATH"]},
    )
    async with failing_s3(parts.socket("s3")) as proxy:
        keys = parts.data.keys
        for name, value in {
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        }.items():
            monkeypatch.setenv(name, value)
        redis, blocking_redis = connect(parts.redis_url), connect_blocking(parts.redis_url)
        ledger, objects, clock = WorkloadLedger(redis, LedgerPolicy(lease=LEASE)), ObjectStore(Bucket(BUCKET)), Clock()
        observers, patience = Observers(Printed()), Patience(pause_s=0.05, pause_s_max=0.05, clock=clock)
        claiming = Claiming(ledger, objects, blocking_redis, API, "echo-0", observers, patience)
        ready = asyncio.Event()
        pool = RunnerPool(lambda phase, _: ready.set() if phase is Phase.READY else None, 30, observers)
        claiming.serve(pool, Claimant("echo-0", "v1", "127.0.0.1:1"))
        begun = (claiming.claim_for_ever(), pool.keep(launch), claiming.renew_for_ever())
        tasks = [asyncio.create_task(work) for work in begun]
        await asyncio.wait_for(ready.wait(), 30)
        yield Worker(proxy, ledger, objects, claiming, clock, tasks[0])
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await claiming.finish(1)
        await pool.stop(1)
        await claiming.settle()
        await redis.aclose()
        await blocking_redis.aclose()


@pytest.mark.slow
async def test_an_unreadable_payload_fails_its_workload_and_is_kept(worker: Worker) -> None:
    """It fails in its first attempt, after at least 10 errors and 10 minutes. Other workloads complete meanwhile."""
    broken = await worker.submit(large=True)
    worker.proxy.pattern, worker.proxy.status = f"GET /{BUCKET}/{API}/{broken}/", 403
    for large in (False, True):
        done = await worker.ended(await worker.submit(large=large))
        assert (done.status, done.result) == (Status.COMPLETED, RESULT)
    failed = await worker.ended(broken)
    assert failed.failure is not None
    assert (failed.status, failed.failure.reason, failed.attempt) == (Status.FAILED, "PAYLOAD_UNREADABLE", 1)
    assert worker.proxy.failures >= 10
    assert worker.clock.now_s >= 600
    assert "the payload is kept" in failed.failure.message
    assert "403" not in failed.failure.message, "callers do not see S3's answer"
    worker.proxy.pattern = ""
    assert payload_object(API, broken) in await worker.objects.keys(f"{API}/")


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 403, 429, 500, 503])
async def test_workloads_complete_after_an_outage_of_any_length(worker: Worker, status: int) -> None:
    """The outage uses up no attempt and blocks no runner.

    S3 closes the connection or answers each read with an error: bad credentials, too many requests, a server's error.
    """
    worker.clock.step_s = 10_000
    worker.proxy.pattern, worker.proxy.status = EVERY_READ, status
    waiting = [await worker.submit(large=True) for _ in range(4)]
    await until(lambda: len(worker.waiting) == 4 and worker.proxy.failures > 20)
    quick = await worker.ended(await worker.submit(large=False))
    assert quick.status is Status.COMPLETED, "the runner is free"
    for id in waiting:
        workload = await worker.read(id)
        assert (workload.status, workload.attempt) == (Status.IN_PROGRESS, 1)
    worker.proxy.pattern = ""
    for id in waiting:
        workload = await worker.ended(id)
        assert (workload.status, workload.result) == (Status.COMPLETED, RESULT)


@pytest.mark.slow
async def test_a_drain_requeues_workloads_that_wait_for_s3(worker: Worker) -> None:
    """They are requeued at once, because another worker may reach S3. No delivery is lost."""
    worker.proxy.pattern, worker.proxy.status = EVERY_READ, 403
    id = await worker.submit(large=True)
    await until(lambda: worker.waiting)
    worker.claims.cancel()
    await asyncio.wait({worker.claims})
    async with asyncio.timeout(30):
        await worker.claiming.finish(3600)
    workload = await worker.read(id)
    assert (workload.status, workload.attempt) == (Status.IN_QUEUE, 1)


@pytest.mark.slow
async def test_an_unreadable_object_is_distinguished_from_an_outage(worker: Worker) -> None:
    """If a HEAD of the bucket works, only the object is unreadable. 429 and 503 always count as an outage."""

    async def error_of(pattern: str, status: int, bucket: str = BUCKET) -> type[Exception]:
        worker.proxy.pattern, worker.proxy.status = pattern, status
        with pytest.raises((StoreUnavailable, NotFound)) as caught:
            [_ async for _ in ObjectStore(Bucket(bucket)).read("echo/a")]
        return caught.type

    await worker.objects.write("echo/a", _once(b"a"))
    one, every = "GET /[a-z]+/echo/a ", "(GET|HEAD) "
    assert [await error_of(one, status) for status in (0, 403, 500)] == [ObjectUnreadable] * 3
    assert [await error_of(one, status) for status in (429, 503)] == [StoreUnavailable] * 2
    assert await error_of(every, 403) is StoreUnavailable
    assert await error_of("", 0, bucket="missing") is StoreUnavailable
    await worker.objects.delete("echo/a")
    assert await error_of("", 0) is ObjectNotFound


@pytest.mark.slow
async def test_a_failure_is_recorded_while_s3_cannot_store_its_traceback(worker: Worker) -> None:
    """The record has the last 4 KiB of the traceback. It also names an object that S3 may have, for the sweeper."""
    worker.proxy.pattern, worker.proxy.status = "PUT ", 503
    id = await worker.submit(large=False, body=FAIL)
    failure = (await worker.ended(id)).failure
    assert failure is not None
    assert worker.proxy.failures >= 1
    assert failure.traceback == "x" * (4096 - len(END)) + END
    assert failure.traceback_object == traceback_object(API, id, 1)
    assert await tracebacks.read(worker.objects, failure) == failure.traceback
    worker.proxy.pattern = ""
    await worker.objects.write(traceback_object(API, id, 1), _once(b"more of it"))  # as if only S3's answer was lost
    assert await tracebacks.read(worker.objects, failure) == "more of it"


@pytest.mark.slow
async def test_i3_one_end_a_stale_attempt_leaves_no_traceback(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt loses its lease after it has stored its traceback."""
    stored: list[set[str]] = []
    finish = worker.ledger.finish_all

    async def lose_once(outcomes: Sequence[tuple[Lease, Result | Failure]]) -> set[Lease]:
        stored.append(await worker.objects.keys(f"{API}/"))
        return {lease for lease, _ in outcomes} if len(stored) == 1 else await finish(outcomes)

    monkeypatch.setattr(worker.ledger, "finish_all", lose_once)
    id = await worker.submit(large=False, body=FAIL)
    ended = await worker.ended(id)
    first, second = (traceback_object(API, id, attempt) for attempt in (1, 2))
    assert (ended.status, ended.attempt, stored) == (Status.FAILED, 2, [{first}, {second}])
    assert await worker.objects.keys(f"{API}/") == {second}
    text = await tracebacks.read(worker.objects, ended.failure)
    assert text == "x" * (8192 - len(END)) + END
