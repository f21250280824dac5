"""Workloads queued behind one that kills its runner are retried without losing a delivery (I5)."""

from __future__ import annotations

import json

import pytest

from tests.http_api import HttpApi


@pytest.mark.slow
def test_i5_poison_its_neighbours_complete(api: HttpApi) -> None:
    """The handler is fast, so the worker claims several workloads ahead. They wait at the runner whenever it dies."""

    def submit(**payload: object) -> str:
        return api.submit(json.dumps(payload).encode(), "application/json")

    for _ in range(20):
        api.end(submit())
    submit(sleep_s=0.5)  # the next ones queue behind it
    deadly, harmless = list[str](), list[str]()
    for _ in range(3):
        deadly.append(submit(exit=3))
        harmless += [submit(sleep_s=0.005) for _ in range(4)]
    assert [api.end(id)["status"] for id in harmless] == ["completed"] * len(harmless)
    assert [api.end(id)["error"]["reason"] for id in deadly] == ["WORKER_LOST"] * len(deadly)


def test_i5_poison_a_payload_that_kills_its_runner_ends_failed_and_the_next_one_runs(api: HttpApi) -> None:
    poison = api.submit(b'{"exit": 3}', "application/json")
    bystander = api.submit(b"{}", "application/json")
    failed = api.end(poison)
    assert failed["error"]["reason"] == "WORKER_LOST"
    assert failed["error"]["message"] == "the handler's process ended with code 3 in each of 3 attempts"
    assert api.end(bystander)["status"] == "completed"
