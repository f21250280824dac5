"""What `insula up` can be told about callers: whose pages may read answers, and how much one address may ask."""

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
    """The status of a read by a client at another loopback address; each has a limit of its own."""
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


def test_one_address_may_ask_so_much_and_others_still_may(strict: RunningEdge, services: ScriptedServices) -> None:
    """429 with the one shape and Retry-After, RESOURCE_EXHAUSTED for gRPC; another address has its own limit."""
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


def test_without_the_setting_nobody_is_limited(public: Listener, services: ScriptedServices) -> None:
    assert {public.get("/predict/1").status for _ in range(100)} == {200}
