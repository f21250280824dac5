"""A part gets SIGKILL in the middle of a batch. Answered lines are on disk. A repeated batch runs no line twice."""

from __future__ import annotations

from contextlib import suppress

import grpc
import pytest
import requests
from google.protobuf.duration_pb2 import Duration

from insula.v1.results_service_pb2 import FetchWorkloadsRequest
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from tests.contract.batches.bodies import post, sending
from tests.stack import Stack
from tests.waiting import until_blocking

LINES = [b'{"line": %d}' % number for number in range(2_000)]
KILLS = 3


def post_after_restart(stack: Stack, body: bytes, key: str) -> list[str]:
    """Post the batch again and again until every line is accepted. Return the ids."""

    def ids() -> list[str]:
        with suppress(requests.RequestException, AssertionError, KeyError):  # a line has an error while Redis starts
            return [answer["id"] for answer in post(stack, body, idempotency_key=key)]
        return []

    return until_blocking(ids, 60)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["submit", "envoy", "valkey"])
def test_i1_answered_lines_survive_and_a_repeated_batch_repeats_nothing(
    stack: Stack, channel: grpc.Channel, part: str
) -> None:
    before = sum(stack.counts("echo").values())
    body, ids = b"\n".join(LINES), list[str]()
    for kill in range(KILLS):
        key = f"{part}-{kill}"
        with sending(f"{stack.public}/echo:batch", idempotency_key=key) as batch:
            batch.send(body[: len(body) // 2])
            answered = batch.ids(100 * kill + 1)
            stack.kill(part)
            with suppress(OSError):
                batch.send(body[len(body) // 2 :])
        ids = post_after_restart(stack, body, key)
        assert ids[: len(answered)] == answered
        assert len(set(ids)) == len(LINES)
    assert sum(stack.counts("echo").values()) == before + KILLS * len(LINES)
    request = FetchWorkloadsRequest(api="echo", ids=ids, wait=Duration(seconds=60))
    found = [one for message in ResultsServiceStub(channel).FetchWorkloads(request) for one in message.workloads]
    assert {one.id for one in found} == set(ids)
