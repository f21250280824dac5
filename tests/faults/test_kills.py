"""SIGKILL of each part of the stack, one at a time, under load. No accepted workload is lost or ends twice."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests

from tests.http_api import HttpApi
from tests.stack import Stack
from tests.waiting import until_blocking

WORKLOADS = 200
OUTAGE_S = 150
LARGE = b"x" * 50_000  # goes through S3


def submit_through_outages(api: HttpApi, number: int) -> str:
    """Submit until the submit is accepted, as a client would. A refused submit stores nothing."""
    large = number % 10 == 0
    payload = LARGE if large else json.dumps({"sleep_s": 0.01}).encode()

    def submitted() -> str:
        try:
            return api.submit(payload, "application/x-blob" if large else "application/json")
        except (requests.RequestException, AssertionError):
            return ""

    return until_blocking(submitted, OUTAGE_S)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["runner", "worker", "submit", "results", "envoy", "valkey", "seaweedfs"])
def test_every_accepted_workload_completes_once(stack: Stack, api: HttpApi, part: str) -> None:
    with ThreadPoolExecutor(16) as clients:
        submits = [clients.submit(submit_through_outages, api, number) for number in range(WORKLOADS)]
        submits[WORKLOADS // 3].result()
        stack.kill(part, "probe" if part in ("runner", "worker") else "")
        ids = [submit.result() for submit in submits]
        statuses = Counter(answer["status"] for answer in clients.map(partial(api.end, within_s=OUTAGE_S), ids))
    assert statuses == {"completed": WORKLOADS}
    assert len(set(ids)) == WORKLOADS
    assert ends(stack, ids) == dict.fromkeys(ids, 1)


def ends(stack: Stack, ids: list[str]) -> dict[str, int]:
    """Return how often each workload was recorded as ended."""
    found = Counter(id for id, status in stack.updates("probe") if status in ("completed", "failed", "cancelled"))
    return {id: found[id] for id in ids}
