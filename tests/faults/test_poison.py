"""What waits behind a workload that kills its runner is not blamed for it (I5)."""

from __future__ import annotations

import json

import pytest

from tests.http_api import HttpApi


@pytest.mark.slow
def test_i5_poison_its_neighbours_complete(api: HttpApi) -> None:
    """The handler is quick, so the worker claims ahead: several wait at the runner that dies, each time it does."""

    def submit(**payload: object) -> str:
        return api.submit(json.dumps(payload).encode(), "application/json")

    for _ in range(20):
        api.end(submit())
    submit(sleep_s=0.5)  # so that the others queue up
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
