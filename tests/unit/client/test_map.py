"""`map`: many payloads, a limited number in flight, an outcome for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from insula import AsyncClient, Client, InvalidArgument, QueueFull, WorkloadFailed
from tests.unit.client.conftest import Twin
from tests.unit.client.scripted import Script, serving_on_a_thread


@pytest.fixture
def script() -> Script:
    return Script(echo=True)


def test_outcomes_come_in_the_order_of_the_payloads(call: Twin, script: Script) -> None:
    """The order holds even if the first workload ends last."""
    script.may_end = lambda number: number > 0 or len(script.submitted) == 8
    outcomes = call("map", "a", [{"n": n} for n in range(8)], in_flight=8)
    assert [outcome.result() for outcome in outcomes] == [{"n": n} for n in range(8)]
    assert [outcome.index for outcome in outcomes] == list(range(8))
    assert all(outcome.payload == {"n": outcome.index} for outcome in outcomes)


def test_as_completed_yields_outcomes_in_the_order_of_ends(call: Twin, script: Script) -> None:
    script.may_end = lambda number: script.submitted[number][2] != b'{"n":0}' or len(script.submitted) == 6
    outcomes = call("map", "a", [{"n": n} for n in range(6)], in_flight=2, as_completed=True)
    assert outcomes[0].index != 0
    assert sorted(outcome.index for outcome in outcomes) == list(range(6))


def test_a_failure_does_not_lose_the_others(call: Twin, script: Script) -> None:
    """The failure is that of a workload, or of a payload that cannot be sent."""
    first, failed, invalid, last = call("map", "a", [{"n": 1}, b'"text"', {"n": object()}, {"n": 2}])
    assert (first.result(), last.result()) == ({"n": 1}, {"n": 2})
    assert first.error is None
    with pytest.raises(WorkloadFailed, match="no text"):
        failed.result()
    assert failed.workload.failure.reason == "HANDLER_ERROR"
    assert isinstance(invalid.error, InvalidArgument)
    assert (invalid.id, invalid.workload) == (None, None)


def test_no_more_payloads_are_read_than_may_be_in_flight(script: Script) -> None:
    """Workloads that have ended also count as in flight until `map` has yielded their outcome."""
    read: list[int] = []

    def payloads() -> Iterator[dict[str, object]]:
        for n in range(20):
            read.append(n)
            yield {"n": n}

    with serving_on_a_thread(script) as url, Client(url) as client:
        outcomes = client.map("a", payloads(), in_flight=4)
        assert read == []
        for taken, outcome in enumerate(outcomes):
            assert outcome.index == taken
            assert len(read) <= taken + 4


async def test_the_async_client_reads_no_more_payloads_than_may_be_in_flight(script: Script) -> None:
    read: list[int] = []

    async def payloads() -> AsyncIterator[dict[str, object]]:
        for n in range(20):
            read.append(n)
            yield {"n": n}

    with serving_on_a_thread(script) as url:
        async with AsyncClient(url) as client:
            taken = 0
            async for outcome in client.map("a", payloads(), in_flight=4):
                assert outcome.index == taken
                assert len(read) <= taken + 4
                taken += 1
    assert taken == 20


def test_lost_calls_are_retried_and_each_payload_has_its_own_key(call: Twin, script: Script) -> None:
    script.lost_answers, script.lost_before = 2, True
    outcomes = call("map", "a", [{"n": n} for n in range(4)])
    assert sorted(outcome.result()["n"] for outcome in outcomes) == [0, 1, 2, 3]
    assert (len(script.keys), len(set(script.keys))) == (6, 4)


def test_map_waits_while_the_queue_is_full(call: Twin, script: Script) -> None:
    script.refusals = [QueueFull("a", 1, timedelta(milliseconds=10))] * 2
    outcomes = call("map", "a", [{"n": n} for n in range(2)])
    assert [outcome.result() for outcome in outcomes] == [{"n": 0}, {"n": 1}]


def test_map_waits_for_a_full_queue_no_longer_than_its_timeout(call: Twin, script: Script) -> None:
    script.refusal = QueueFull("a", 1, timedelta(seconds=30))
    [outcome] = call("map", "a", [{}], timeout=0.5)
    assert isinstance(outcome.error, QueueFull)


def test_the_outcome_of_a_timeout_has_the_workloads_id(call: Twin, script: Script) -> None:
    script.may_end = lambda number: script.submitted[number][2] != b'{"n":0}'
    slow, quick = call("map", "a", [{"n": 0}, {"n": 1}], timeout=0.5)
    assert isinstance(slow.error, TimeoutError)
    assert (slow.id is not None, slow.workload) == (True, None)
    assert quick.result() == {"n": 1}


def test_an_error_of_reading_the_payloads_is_raised(call: Twin) -> None:
    def payloads() -> Iterator[dict[str, object]]:
        yield {}
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        call("map", "a", payloads())


def test_map_accepts_large_payloads(call: Twin, script: Script) -> None:
    payloads = [b'{"n": "' + b"x" * 2_000_000 + b'"}' for _ in range(3)]
    assert [len(outcome.result()["n"]) for outcome in call("map", "a", payloads)] == [2_000_000] * 3


def test_in_flight_must_be_at_least_one() -> None:
    with Client() as client, pytest.raises(InvalidArgument, match="in_flight: must be at least 1"):
        client.map("a", [], in_flight=0)
