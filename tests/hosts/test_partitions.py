"""Two parts cannot reach each other. Callers get the errors of docs/errors.md; nothing is lost or ends twice.

`drop` is a silent partition: open connections stay open, and packets get no answer. `reset` refuses connections.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from insula.keys import ApiKeys
from tests.hosts.fleet import GRPC, PUBLIC, Fleet
from tests.hosts.network import Host
from tests.waiting import until_blocking

SMALL, LARGE = b"{}", json.dumps("x" * 50_000).encode()  # the large one goes through S3
BRIEF_S, SILENT_S = 20, 60
"""Seconds within which a caller has an answer: with an open Redis connection, and with any other silent peer."""
ONCE = ["in_queue", "in_progress", "completed"]

Cut = Callable[[Host, Host], None]


@pytest.fixture(params=["drop", "reset"])
def cut(request: pytest.FixtureRequest) -> Cut:
    """How to part two hosts."""
    how: str = request.param
    return lambda one, other: getattr(one, how)(other)


def refusal(reply: requests.Response) -> tuple[int, str, bool]:
    """Return status, reason, and whether the reply says when to retry. Check the shape of the error."""
    error: dict[str, Any] = reply.json()
    assert set(error) == {"code", "message", "details"}
    reasons = [detail["reason"] for detail in error["details"] if "reason" in detail]
    return reply.status_code, "".join(reasons), int(reply.headers.get("Retry-After", "0")) > 0


@pytest.fixture
def key() -> str:
    """An Idempotency-Key of this test."""
    return str(uuid4())


def accepted(fleet: Fleet, payload: bytes, key: str) -> str:
    """Submit as callers should after a 503: again, with the same key, until it is accepted. Return the id."""

    def id() -> str:
        reply = fleet.post("/job", payload, SILENT_S, Idempotency_Key=key)
        return str(reply.json()["id"]) if reply.status_code == 200 else ""

    return until_blocking(id)


def test_submit_without_redis_answers_503_and_a_retry_makes_one_workload(fleet: Fleet, cut: Cut, key: str) -> None:
    before = fleet.end_of("job", fleet.submit_one("job"))
    cut(fleet.submit, fleet.redis_host)
    refused = fleet.post("/job", SMALL, BRIEF_S, Idempotency_Key=key)
    assert refusal(refused) == (503, "STORE_UNAVAILABLE", True)
    assert fleet.get(f"/job/{before['id']}").json() == before, "reads continue"
    fleet.network.mend()
    ids = {accepted(fleet, SMALL, key) for _ in range(2)}
    [id] = ids
    fleet.end_of("job", id)
    assert fleet.history("job", id) == ONCE


def test_results_without_redis_answers_503_and_workloads_end(fleet: Fleet, cut: Cut, key: str) -> None:
    id = fleet.submit_one("job")
    fleet.end_of("job", id)
    cut(fleet.results, fleet.redis_host)
    assert refusal(fleet.get(f"/job/{id}", BRIEF_S)) == (503, "STORE_UNAVAILABLE", True)
    later = fleet.submit_one("job")
    until_blocking(lambda: fleet.history("job", later) == ONCE)
    fleet.network.mend()
    assert fleet.end_of("job", later)["status"] == "completed"


def test_submit_without_s3_refuses_large_payloads_and_accepts_small_ones(fleet: Fleet, cut: Cut, key: str) -> None:
    fleet.end_of("job", accepted(fleet, LARGE, f"{key}-before"))  # so that a connection is open
    cut(fleet.submit, fleet.s3_host)
    refused = fleet.post("/job", LARGE, SILENT_S, Idempotency_Key=key)
    assert refusal(refused) == (503, "STORE_UNAVAILABLE", True)
    assert fleet.end_of("job", fleet.submit_one("job"))["status"] == "completed"
    fleet.network.mend()
    id = accepted(fleet, LARGE, key)
    assert fleet.end_of("job", id)["result"] == {"length": 50_000}
    assert fleet.history("job", id) == ONCE


def test_workers_without_s3_keep_a_large_workload_and_run_small_ones(fleet: Fleet, cut: Cut, key: str) -> None:
    fleet.end_of("job", accepted(fleet, LARGE, f"{key}-before"))
    for worker in fleet.workers("job"):
        cut(fleet.network.hosts[worker], fleet.s3_host)
    large = accepted(fleet, LARGE, key)
    until_blocking(lambda: fleet.status("job", large) == "in_progress")
    assert fleet.end_of("job", fleet.submit_one("job"))["status"] == "completed"
    assert fleet.status("job", large) == "in_progress"
    fleet.network.mend()
    assert fleet.end_of("job", large)["result"] == {"length": 50_000}
    assert fleet.history("job", large) == ONCE


@pytest.mark.parametrize("service", ["submit", "results"])
def test_an_edge_without_a_service_answers_503_and_recovers(fleet: Fleet, cut: Cut, key: str, service: str) -> None:
    """The first request uses a connection that is open, the second needs a new one. The other service goes on."""
    id = fleet.submit_one("job")
    fleet.end_of("job", id)
    cut(fleet.edge, fleet.submit if service == "submit" else fleet.results)

    def call() -> requests.Response:
        if service == "submit":
            return fleet.post("/job", SMALL, SILENT_S, Idempotency_Key=key)
        return fleet.get(f"/job/{id}", SILENT_S)

    assert [refusal(call()) for _ in range(2)] == [(503, "", True)] * 2
    assert fleet.get("/healthz").status_code == 200
    other = fleet.get(f"/job/{id}") if service == "submit" else fleet.post("/job")
    assert other.status_code == 200
    fleet.network.mend()
    until_blocking(lambda: call().status_code == 200)
    later = accepted(fleet, SMALL, key)
    fleet.end_of("job", later)
    assert fleet.history("job", later) == ONCE


def test_workers_without_redis_finish_their_workloads_and_write_the_results_later(
    fleet: Fleet, cut: Cut, tmp_path: Path
) -> None:
    """Submits are accepted meanwhile. No workload runs twice, because no worker takes over after its own outage."""
    id = fleet.submit_one("job", hold=str(tmp_path))
    until_blocking((tmp_path / "runs").exists)
    host = (tmp_path / "runs").read_text().strip()
    for worker in fleet.workers("job"):
        cut(fleet.network.hosts[worker], fleet.redis_host)
    (tmp_path / host).touch()
    until_blocking(lambda: "cannot store the end of an attempt" in fleet.log(host))
    waiting = fleet.submit_one("job")
    assert (fleet.status("job", id), fleet.status("job", waiting)) == ("in_progress", "in_queue")
    fleet.network.mend()
    assert fleet.end_of("job", id)["result"]["host"] == host
    assert fleet.end_of("job", waiting)["status"] == "completed"
    assert [fleet.history("job", one) for one in (id, waiting)] == [ONCE, ONCE]
    assert (tmp_path / "runs").read_text().split() == [host]


@pytest.mark.parametrize("ends", ["while it is cut off", "after it is back"])
def test_i3_the_workload_of_a_cut_off_host_ends_once_elsewhere(fleet: Fleet, tmp_path: Path, ends: str) -> None:
    """The cut-off worker's own end is refused. Of its result, nothing stays in S3."""
    id = fleet.submit_one("job", hold=str(tmp_path), padding=10_000)
    until_blocking((tmp_path / "runs").exists)
    first = (tmp_path / "runs").read_text().strip()
    fleet.network.unplug(fleet.network.hosts[first])
    if ends == "while it is cut off":
        (tmp_path / first).touch()
    until_blocking(lambda: len((tmp_path / "runs").read_text().split()) == 2, within_s=60)
    [_, second] = (tmp_path / "runs").read_text().split()
    assert second != first
    (tmp_path / second).touch()
    ended = fleet.end_of("job", id)
    assert ended["result"]["host"] == second
    fleet.network.mend()
    until_blocking(lambda: any("lease lost" in line and id in line for line in fleet.log(first).splitlines()))
    assert fleet.end_of("job", id) == ended
    assert fleet.history("job", id) == ["in_queue", "in_progress", "in_queue", "in_progress", "completed"]
    until_blocking(lambda: fleet.objects(f"job/{id}/") == [f"job/{id}/result.2"])
    (tmp_path / first).touch()
    assert fleet.end_of("job", fleet.submit_one("job"))["status"] == "completed"


def test_an_edge_leaves_out_the_replica_whose_host_is_lost(fleet: Fleet) -> None:
    """It notices within a minute, without DNS. Then a submit takes a second more at most."""
    host = fleet.network.host("submit-2")
    fleet.start_service("submit", host)
    fleet.name("insula-submit", fleet.submit, host)
    connections = ("ss", "-Htn", "state", "established", "sport", "=", f":{GRPC}")
    until_blocking(lambda: fleet.post("/job").ok and host.run(*connections))
    fleet.network.unplug(host)
    until_blocking(lambda: all(_answered(fleet) for _ in range(10)), within_s=SILENT_S)
    fleet.name("insula-submit", fleet.submit)
    fleet.processes.pop("submit-2").end()


def _answered(fleet: Fleet) -> bool:
    try:
        return fleet.post("/job", SMALL, timeout_s=5).status_code == 200
    except requests.Timeout:
        return False


def test_submit_ends_the_uploads_of_an_edge_whose_host_is_lost(fleet: Fleet) -> None:
    """An upload holds memory. Its connection, and idle ones of that edge, are closed within a minute."""

    def begin() -> socket.socket:
        connection = socket.create_connection((fleet.edge.address, PUBLIC))
        head = "POST /job HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-blob\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 200_000)
        return connection

    uploads = ApiKeys("job").uploads
    begun = fleet.in_redis(lambda redis: redis.zcard(uploads))
    connections = ("ss", "-Htn", "state", "established", "sport", "=", f":{GRPC}")
    with fleet.operator.call(begin):
        until_blocking(lambda: fleet.in_redis(lambda redis: redis.zcard(uploads)) > begun)
        fleet.network.unplug(fleet.edge)
        assert fleet.edge.address in fleet.submit.run(*connections)
        until_blocking(lambda: fleet.edge.address not in fleet.submit.run(*connections))
    fleet.network.mend()
    until_blocking(lambda: fleet.post("/job").status_code == 200)


def test_redis_moves_to_another_host(fleet: Fleet, tmp_path: Path) -> None:
    """The old host is gone in silence, and its volume is attached to the new one. The running workload ends once."""
    id = fleet.submit_one("job", hold=str(tmp_path))
    until_blocking((tmp_path / "runs").exists)
    fleet.network.unplug(fleet.redis_host)
    fleet.processes["redis"].end(signal.SIGKILL)
    fleet.redis_host = fleet.network.host("redis-1")
    fleet.start_redis()
    fleet.name("insula-redis", fleet.redis_host)
    (tmp_path / (tmp_path / "runs").read_text().strip()).touch()
    assert fleet.end_of("job", id)["status"] == "completed"
    assert fleet.history("job", id) == ONCE
    assert fleet.end_of("job", accepted(fleet, SMALL, str(uuid4())))["status"] == "completed"


def test_the_edge_follows_dns_when_submit_moves_to_another_host(fleet: Fleet) -> None:
    """The old host is gone in silence, as a lost node: its connections are never closed."""
    fleet.post("/job")
    host = fleet.network.host("submit-1")
    fleet.start_service("submit", host)
    fleet.network.unplug(fleet.submit)
    fleet.name("insula-submit", host)
    until_blocking(lambda: fleet.post("/job", SMALL, SILENT_S).status_code == 200)
    fleet.name("insula-submit", fleet.submit)
    fleet.network.mend()
    fleet.processes.pop("submit-1").end()
    until_blocking(lambda: fleet.post("/job", SMALL, SILENT_S).status_code == 200)
