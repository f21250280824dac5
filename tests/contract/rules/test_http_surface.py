"""Rules H1 to H13, except those that tests/contract/stack and tests/contract/edge prove."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.http_api import HttpApi
from tests.stack import Stack
from tests.waiting import until_blocking


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "image/png", "multipart/form-data", "x"])
def test_h1_a_post_answers_200_and_the_id(echo: HttpApi, content_type: str) -> None:
    reply = requests.post(echo.url, data=b"{}", headers={"Content-Type": content_type}, timeout=10)
    assert reply.status_code == 200
    assert list(reply.json()) == ["id"]
    assert str(uuid.UUID(reply.json()["id"])) == reply.json()["id"]


def test_h2_h3_before_its_end_a_workload_has_id_and_status(
    stack: Stack, api: Callable[[str], HttpApi], tmp_path: Path
) -> None:
    """A GET of a waiting or a running workload returns its id and its status, and no other key."""
    gated, gate = api("gated"), tmp_path / "gate"
    payload = json.dumps({"gate": str(gate)}).encode()
    running = gated.submit(payload, "application/json")
    stack.wait_for_status("gated", running, "in_progress")
    began = time.monotonic()
    until_blocking(lambda: time.monotonic() - began > 0.2)  # so long, and nothing is claimed ahead (I6)
    waiting = gated.submit(payload, "application/json")
    for id, status in ((running, "in_progress"), (waiting, "in_queue")):
        assert requests.get(f"{gated.url}/{id}", timeout=10).json() == {"id": id, "status": status}
    gate.touch()
    assert [gated.end(id)["status"] for id in (running, waiting)] == ["completed", "completed"]


def test_h2_a_failed_workload_has_no_result_and_no_timestamp(echo: HttpApi) -> None:
    assert sorted(echo.run(b"{", "application/json")) == ["error", "id", "status"]


def test_h4_the_timestamp_is_the_moment_of_completion_in_utc(echo: HttpApi) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    timestamp = echo.run(b"{}", "application/json")["timestamp"]
    completed = datetime.fromisoformat(timestamp)
    assert completed.utcoffset() == timedelta(0)
    assert before <= completed <= datetime.now(UTC) + timedelta(seconds=1)


def test_h7_the_service_makes_the_id(echo: HttpApi) -> None:
    """Cortex took the id from `x-request-id`. In Insula this header only correlates log lines."""
    headers = {"Content-Type": "application/json", "x-request-id": "mine"}
    ids = [requests.post(echo.url, data=b"{}", headers=headers, timeout=10).json()["id"] for _ in range(2)]
    assert len({*ids, "mine"}) == 3


def test_h7_an_idempotency_key_makes_a_retried_submit_one_workload(echo: HttpApi) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    ids = {requests.post(echo.url, data=b"{}", headers=headers, timeout=10).json()["id"] for _ in range(3)}
    assert len(ids) == 1
    other = requests.post(echo.url, data=b"[]", headers=headers, timeout=10)
    assert other.status_code == 409, "the same key for another payload"


def test_h7_a_retried_submit_needs_no_room_in_a_full_queue(api: Callable[[str], HttpApi], tmp_path: Path) -> None:
    """A submit that is repeated with its Idempotency-Key gets its first id. Another submit is refused.

    This holds for a payload in Redis and for one in S3.
    """
    full, gate = api("gated"), tmp_path / "gate"
    bodies = [json.dumps({"gate": str(gate), "more": " " * length}).encode() for length in (0, 100_000)]
    try:
        ids = [post(full, body, f"key-{number}") for number, body in enumerate(bodies)]
        assert [post(full, body, f"key-{number}") for number, body in enumerate(bodies)] == ids
        refused = requests.post(full.url, data=b"{}", headers={"Content-Type": "application/json"}, timeout=10)
        assert refused.status_code == 429
    finally:
        gate.touch()
    assert all(full.end(id)["status"] == "completed" for id in ids)


def post(api: HttpApi, body: bytes, key: str) -> str:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    reply = requests.post(api.url, data=body, headers=headers, timeout=10)
    assert reply.status_code == 200, reply.text
    id: str = reply.json()["id"]
    return id


def test_h8_replies_are_labelled_json(echo: HttpApi) -> None:
    posted = requests.post(echo.url, data=b"{}", headers={"Content-Type": "application/json"}, timeout=10)
    for reply in (posted, requests.get(f"{echo.url}/{posted.json()['id']}", timeout=10)):
        assert reply.headers["content-type"] == "application/json"


def test_h9_a_page_of_any_origin_may_call(echo: HttpApi) -> None:
    origin = "https://page.example"
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = requests.options(echo.url, headers=asked, timeout=10)
    methods = preflight.headers["access-control-allow-methods"].replace(" ", "").split(",")
    assert preflight.status_code == 200
    assert {"GET", "HEAD", "POST", "PUT", "OPTIONS"} == set(methods)
    headers = {"Origin": origin, "Content-Type": "application/json"}
    posted = requests.post(echo.url, data=b"{}", headers=headers, timeout=10)
    for reply in (preflight, posted, requests.get(f"{echo.url}/unknown", headers=headers, timeout=10)):
        assert reply.headers["access-control-allow-origin"] in ("*", origin)


def test_h11_a_full_queue_answers_429_and_takes_nothing(
    stack: Stack, api: Callable[[str], HttpApi], tmp_path: Path
) -> None:
    """With `max_replica_concurrency: 2` and one replica, a third workload is refused while two wait or run."""
    gated, gate = api("gated"), tmp_path / "gate"
    payload = json.dumps({"gate": str(gate)}).encode()
    ids = [gated.submit(payload, "application/json") for _ in range(2)]
    before = sum(stack.counts("gated").values())
    refused = requests.post(gated.url, data=payload, headers={"Content-Type": "application/json"}, timeout=10)
    after = sum(stack.counts("gated").values())
    gate.touch()
    assert [gated.end(id)["status"] for id in ids] == ["completed", "completed"]
    assert gated.run(payload, "application/json")["status"] == "completed", "there is room again"
    assert (refused.status_code, after) == (429, before)
    assert refused.json()["code"] == 8, "RESOURCE_EXHAUSTED"
    assert refused.json()["details"][0]["reason"] == "QUEUE_FULL"
    assert int(refused.headers.get("retry-after", "0")) > 0, "Retry-After"


def test_h12_healthz_answers_ok(stack: Stack) -> None:
    for listener in (stack.public, stack.internal):
        reply = requests.get(f"{listener}/healthz", timeout=10)
        assert (reply.status_code, reply.text.strip()) == (200, "ok")
