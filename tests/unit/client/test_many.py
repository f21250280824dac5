"""`submit_many` and `results`: many workloads in few calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest

from insula import (
    AsyncClient,
    Client,
    ContentTypeMissing,
    InvalidArgument,
    QueueFull,
    StoreUnavailable,
    Unreachable,
    WorkloadFailed,
    WorkloadNotFound,
)
from insula.client import many
from insula.rpc.statuses import status_of
from insula.v1.results_service_pb2 import FetchFailure, FetchWorkloadsResponse
from insula.v1.workload_pb2 import Workload
from tests.unit.client.conftest import Twin
from tests.unit.client.scripted import Script, serving_on_a_thread

FULL = QueueFull("a", 1, timedelta(seconds=5))


@pytest.fixture
def script() -> Script:
    return Script(echo=True)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the size of a batch to 10 payloads. A slow iterable of payloads does not make a batch smaller."""
    monkeypatch.setattr(many, "BATCH_PAYLOADS", 10)
    monkeypatch.setattr(many, "BATCH_S", 60)


def ids(submitted: list[Any]) -> list[str]:
    return [each.id for each in submitted]


def test_payloads_are_answered_in_their_order(call: Twin, script: Script) -> None:
    submitted = call("submit_many", "a", [{"n": n} for n in range(95)])
    assert [(each.index, each.payload, each.error) for each in submitted] == [(n, {"n": n}, None) for n in range(95)]
    assert ids(submitted) == [str(n) for n in range(95)]
    assert [len(batch.payloads) for batch in script.batches] == [10] * 9 + [5]


def test_a_batch_has_one_content_type(call: Twin, script: Script) -> None:
    submitted = call("submit_many", "a", [{}, {}, "x", b"y", b"z"])
    assert [each.index for each in submitted] == list(range(5))
    types = [(batch.content_type, len(batch.payloads), batch.first_number) for batch in script.batches]
    assert types == [
        ("application/json", 2, 1),
        ("text/plain; charset=utf-8", 1, 3),
        ("application/octet-stream", 2, 4),
    ]


def test_a_batch_stays_under_the_limit_of_a_message(call: Twin, script: Script) -> None:
    big = bytes(many.BATCH_BYTES - 1)
    assert len(call("submit_many", "a", [big, bytes(many.PAYLOAD_BYTES_MAX), big, big])) == 4
    assert [len(batch.payloads) for batch in script.batches] == [1, 1, 2]


def test_a_payload_that_cannot_be_sent_has_its_error(call: Twin, script: Script) -> None:
    """The payloads before and after the invalid one are submitted."""
    bad = [{"n": object()}, iter([b"x"]), bytes(many.PAYLOAD_BYTES_MAX + 1)]
    submitted = call("submit_many", "a", [{}, *bad, {}], idempotency_key="k")
    assert ids(submitted) == ["0", None, None, None, "1"]
    assert [type(each.error) for each in submitted[1:4]] == [InvalidArgument] * 3
    assert [each.index for each in submitted] == list(range(5))
    assert [batch.first_number for batch in script.batches] == [1, 5]


def test_a_refused_payload_has_its_error_and_the_others_go_on(call: Twin, script: Script) -> None:
    script.payload_errors = {b"[2]": [FULL], b"[3]": [ContentTypeMissing()]}
    submitted = call("submit_many", "a", [[1], [2], [3], [4]])
    assert ids(submitted) == ["0", None, None, "1"]
    assert (submitted[1].error.limit, submitted[1].error.retry_after) == (1, timedelta(seconds=5))
    assert isinstance(submitted[2].error, ContentTypeMissing)


@pytest.mark.parametrize("lost_as", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_lost_batches_with_a_key_are_sent_again(call: Twin, script: Script, lost_as: grpc.StatusCode) -> None:
    """Each payload is accepted once, under its key and number."""
    script.lost_answers, script.lost_as = 3, lost_as
    submitted = call("submit_many", "a", [{"n": n} for n in range(60)], idempotency_key="k")
    assert ids(submitted) == [str(n) for n in range(60)]
    assert len(script.submitted) == 60
    assert {batch.idempotency_key for batch in script.batches} == {"k"}


def test_payloads_with_a_key_are_sent_again_while_a_store_is_unavailable(call: Twin, script: Script) -> None:
    script.payload_errors = {b"[2]": [StoreUnavailable("Redis")] * 2}
    assert ids(call("submit_many", "a", [[1], [2], [3]], idempotency_key="k")) == ["0", "2", "1"]


def test_lost_batches_without_a_key_are_not_sent_again(call: Twin, script: Script) -> None:
    script.lost_answers = 1
    with pytest.raises(Unreachable):
        call("submit_many", "a", [{}])
    assert script.submits == 1


def test_without_a_key_an_unavailable_store_is_the_error_of_its_payloads(call: Twin, script: Script) -> None:
    script.payload_errors = {b"[2]": [StoreUnavailable("Redis")]}
    submitted = call("submit_many", "a", [[1], [2]])
    assert isinstance(submitted[1].error, StoreUnavailable)
    assert script.submits == 1


def test_after_a_minute_the_last_error_of_a_batch_is_raised(
    call: Twin, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insula.client.flows.REPEAT_S", 0.2)
    script.refusal = StoreUnavailable("Redis")
    with pytest.raises(StoreUnavailable):
        call("submit_many", "a", [{}], idempotency_key="k")
    assert script.submits > 1


def test_no_more_payloads_are_read_than_a_few_batches(script: Script) -> None:
    read: list[int] = []

    def payloads() -> Iterator[dict[str, object]]:
        for n in range(1000):
            read.append(n)
            yield {"n": n}

    with serving_on_a_thread(script) as url, Client(url) as client:
        submitted = client.submit_many("a", payloads())
        assert next(submitted).index == 0
        assert len(read) <= 10 * (many.BATCHES_AHEAD + 1)


async def test_the_async_client_reads_asynchronous_payloads(script: Script) -> None:
    async def payloads() -> AsyncIterator[dict[str, object]]:
        for n in range(25):
            yield {"n": n}

    with serving_on_a_thread(script) as url:
        async with AsyncClient(url) as client:
            assert [each.id async for each in client.submit_many("a", payloads())] == [str(n) for n in range(25)]


def test_an_error_of_reading_the_payloads_is_raised_and_leaves_no_thread(call: Twin) -> None:
    def payloads() -> Iterator[dict[str, object]]:
        yield {}
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        call("submit_many", "a", payloads())


def test_results_have_an_outcome_for_each_id(call: Twin, script: Script) -> None:
    """A failed workload has an outcome too. An id that is given twice has two outcomes."""
    script.submitted = [("a", "", b'{"n": 1}'), ("a", "", b'"text"')]
    outcomes = sorted(call("results", "a", ["0", "1", "0"]), key=lambda outcome: outcome.index)
    assert [(each.index, each.id, each.payload) for each in outcomes] == [
        (0, "0", None),
        (1, "1", None),
        (2, "0", None),
    ]
    assert outcomes[0].result() == outcomes[2].result() == {"n": 1}
    with pytest.raises(WorkloadFailed, match="no text"):
        outcomes[1].result()


def test_an_unknown_id_has_its_error(call: Twin, script: Script) -> None:
    error = status_of(WorkloadNotFound("a", "9"))
    script.fetched = [[FetchWorkloadsResponse(failures=[FetchFailure(id="9", error=error)])]]
    [outcome] = call("results", "a", ["9"])
    assert isinstance(outcome.error, WorkloadNotFound)
    assert (outcome.id, outcome.workload) == ("9", None)


def test_results_ask_again_for_what_has_not_ended(call: Twin, script: Script) -> None:
    """`results` calls FetchWorkloads again for workloads that still run, and after a call was lost."""
    script.submitted = [("a", "", b'{"n": 1}')] * 2
    running = Workload(id="1", api="a", status="in_progress")
    done = Workload(id="0", api="a", status="completed", result_json=b"{}")
    script.fetched = [[FetchWorkloadsResponse(workloads=[done, running])], [grpc.StatusCode.CANCELLED]]
    assert [outcome.index for outcome in call("results", "a", ["0", "1"])] == [0, 1]
    assert [list(fetch.ids) for fetch in script.fetches] == [["0", "1"], ["1"], ["1"]]


def test_a_result_that_was_left_out_is_read_alone(call: Twin, script: Script) -> None:
    script.submitted = [("a", "", b'{"n": 1}')]
    large = Workload(id="0", api="a", status="completed")
    script.fetched = [[FetchWorkloadsResponse(workloads=[large])]]
    [outcome] = call("results", "a", ["0"])
    assert outcome.result() == {"n": 1}
    assert script.asked == [("a", "0", 0)]


def test_ids_beyond_one_call_have_their_turn(call: Twin, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call fetches at most IDS_MAX ids. A workload that does not end does not hold up the ids of later calls."""
    monkeypatch.setattr(many, "IDS_MAX", 2)
    monkeypatch.setattr(many, "ROUND_S", 0.1)
    script.submitted = [("a", "", b"{}")] * 5
    script.may_end = lambda number: number > 0 or len(script.fetches) > 2
    outcomes = call("results", "a", [str(n) for n in range(5)])
    assert [outcome.index for outcome in outcomes] == [1, 2, 3, 4, 0]


def test_after_the_timeout_the_others_have_a_timeout_error(call: Twin, script: Script) -> None:
    script.submitted = [("a", "", b"{}")] * 2
    script.may_end = lambda number: number == 0
    first, second = call("results", "a", ["0", "1"], timeout=0.3)
    assert first.error is None
    assert isinstance(second.error, TimeoutError)
    assert (second.index, second.id, second.workload) == (1, "1", None)


def test_no_ids_have_no_outcomes(call: Twin) -> None:
    assert call("results", "a", []) == []
    assert call("submit_many", "a", []) == []
