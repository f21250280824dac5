"""kill -9 of every part of the stack, one at a time, under load: nothing that was answered is lost or ends twice."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.http_api import HttpApi
from tests.stack import Stack, running_stack

WORKLOADS = 200
PROBE = Path(__file__).parent.parent / "projects" / "probe"
LARGE = b"x" * 50_000  # goes through S3


def submit_through_outages(api: HttpApi, number: int) -> str:
    """Repeat a refused submit, as a client would. An answer other than an id is a refusal, and stored nothing."""
    large = number % 10 == 0
    payload = LARGE if large else json.dumps({"sleep_s": 0.01}).encode()
    for _ in range(1000):
        try:
            return api.submit(payload, "application/x-blob" if large else "application/json")
        except (requests.RequestException, AssertionError):
            continue
    raise AssertionError("no submit got through")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["runner", "worker", "submit", "results", "envoy", "valkey", "seaweedfs"])
async def test_every_answered_workload_completes_once(part: str, tmp_path: Path) -> None:
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        kill_in_the_middle(stack, part)


def kill_in_the_middle(stack: Stack, part: str) -> None:
    api = HttpApi(f"{stack.public}/probe")
    with ThreadPoolExecutor(16) as clients:
        submits = [clients.submit(submit_through_outages, api, number) for number in range(WORKLOADS)]
        submits[WORKLOADS // 3].result()
        stack.kill(part)
        ids = [submit.result() for submit in submits]
        statuses = Counter(answer["status"] for answer in clients.map(partial(api.end, within_s=150), ids))
    assert statuses == {"completed": WORKLOADS}
    assert len(set(ids)) == WORKLOADS
    assert ends(stack, ids) == dict.fromkeys(ids, 1)


def ends(stack: Stack, ids: list[str]) -> dict[str, int]:
    """How often each workload was recorded as ended."""
    found = Counter(id for id, status in stack.updates("probe") if status in ("completed", "failed", "cancelled"))
    return {id: found[id] for id in ids}
