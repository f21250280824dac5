"""`watch` yields every change until the end, also if the connection breaks."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from insula import AsyncClient, StoreUnavailable, Unreachable, WorkloadNotFound
from insula.client import flows
from insula.v1.workload_pb2 import Workload
from tests.unit.client.conftest import Twin
from tests.unit.client.scripted import Answer, Script, serving_on_a_thread
from tests.unit.client.test_clients import DONE, FAILED

QUEUED = Workload(id="id-1", api="a", status="in_queue")
RUNNING = Workload(id="id-1", api="a", status="in_progress", attempt=1)
AGAIN = Workload(id="id-1", api="a", status="in_progress", attempt=2)
ENDED = Workload(id="id-1", api="a", status="completed", attempt=2)


def test_each_change_is_yielded_and_the_last_one_has_the_result(call: Twin, script: Script) -> None:
    script.watches, script.answers = [[QUEUED, RUNNING, AGAIN, ENDED]], [DONE]
    shown = call("watch", "a", "id-1")
    assert [(each.status, each.attempt) for each in shown] == [
        ("in_queue", 0),
        ("in_progress", 1),
        ("in_progress", 2),
        ("completed", 2),
    ]
    assert shown[-1].result == {"n": 9007199254740993, "x": 1.0}


@pytest.mark.parametrize(
    "end",
    [grpc.StatusCode.UNAVAILABLE, StoreUnavailable("Redis"), None],
    ids=["lost", "store", "closed"],
)
def test_a_broken_watch_continues_and_yields_no_change_twice(call: Twin, script: Script, end: Answer | None) -> None:
    broken: list[Answer] = [RUNNING] if end is None else [RUNNING, end]
    script.watches, script.answers = [[QUEUED], broken, [RUNNING, ENDED]], [DONE]
    assert [each.status for each in call("watch", "a", "id-1")] == ["in_queue", "in_progress", "completed"]
    assert script.watches == []


def test_a_failed_workload_is_yielded_with_its_failure(call: Twin, script: Script) -> None:
    script.watches, script.answers = [[FAILED]], [FAILED]
    [shown] = call("watch", "a", "id-1")
    assert shown.failure.reason == "HANDLER_ERROR"


def test_a_missing_workload_raises_an_error(call: Twin, script: Script) -> None:
    script.watches = [[WorkloadNotFound("a", "id-1")]]
    with pytest.raises(WorkloadNotFound):
        call("watch", "a", "id-1")


def test_a_watch_raises_a_timeout_error_after_its_time(call: Twin, script: Script) -> None:
    script.watches = [[QUEUED], *[[RUNNING]] * 1000]
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.5 s; it is still kept"):
        call("watch", "a", "id-1", 0.5)


def test_a_watch_that_cannot_connect_for_a_minute_raises_the_last_error(
    call: Twin, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "REPEAT_S", 0.1)
    script.watches = [[grpc.StatusCode.UNAVAILABLE]] * 1000
    with pytest.raises(Unreachable):
        call("watch", "a", "id-1")


async def test_a_watcher_may_stop_early(script: Script) -> None:
    script.watches = [[QUEUED, RUNNING]]
    with serving_on_a_thread(script) as url:
        async with AsyncClient(url) as client, asyncio.timeout(10):
            async for shown in client.watch("a", "id-1"):
                assert shown.status == "in_queue"
                break
