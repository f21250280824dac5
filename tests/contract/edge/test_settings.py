"""Settings of `insula up` for callers: the origins of CORS, and the limit of requests of one address."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.contract.edge.running_edge import Listener, RunningEdge
from tests.contract.edge.scripted_services import ScriptedServices

ORIGINS = ("https://app.example", "http://localhost:3000")
REQUESTS_PER_S = 5


@pytest.fixture(scope="module")
def strict(started_services: ScriptedServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    folder = tmp_path_factory.mktemp("strict")
    running = RunningEdge(started_services, folder, cors_origins=ORIGINS, address_requests_per_s=REQUESTS_PER_S)
    yield running
    running.stop()


def from_address(listener: Listener, address: str, **headers: str) -> int:
    """Read a workload from the loopback address `address`. Return the HTTP status."""
    connection = HTTPConnection("127.0.0.1", listener.port, timeout=30, source_address=(address, 0))
    try:
        connection.request("GET", "/predict/1", headers=headers)
        answer = connection.getresponse()
        answer.read()
        allowed = answer.headers.get("access-control-allow-origin")
        if headers:
            assert allowed == (headers["origin"] if headers["origin"] in ORIGINS else None)
        return answer.status
    finally:
        connection.close()


@pytest.mark.parametrize("origin", [*ORIGINS, "https://other.example", "http://app.example", "null"])
def test_only_the_origins_given_may_read_answers(strict: RunningEdge, services: ScriptedServices, origin: str) -> None:
    assert from_address(strict.public, f"127.0.1.{len(origin)}", origin=origin) == 200


def test_each_address_has_its_own_limit_of_requests(strict: RunningEdge, services: ScriptedServices) -> None:
    """Over the limit, HTTP gets 429 with Retry-After, and gRPC gets RESOURCE_EXHAUSTED."""
    statuses = {from_address(strict.public, "127.0.2.1") for _ in range(50)}
    assert statuses == {200, 429}
    assert from_address(strict.public, "127.0.2.2") == 200
    replies = [strict.internal.get("/predict/1") for _ in range(50)]
    refused = next(reply for reply in replies if reply.status == 429)
    assert (refused.error["code"], refused.headers["retry-after"]) == (8, "1")
    frame = struct.pack(">BI", 0, 0)
    target = "/insula.v1.SubmitService/SubmitWorkload"
    calls = [strict.internal.post(target, frame, content_type="application/grpc-web+proto") for _ in range(50)]
    assert "8" in {call.headers.get("grpc-status") for call in calls}


def test_without_the_setting_there_is_no_limit(public: Listener, services: ScriptedServices) -> None:
    assert {public.get("/predict/1").status for _ in range(100)} == {200}
