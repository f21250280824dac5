"""SubmitWorkloads and FetchWorkloads, as a gRPC client calls them through Envoy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import SimpleQueue

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from insula.ids import new_id
from insula.v1.results_service_pb2 import FetchWorkloadsRequest, FetchWorkloadsResponse
from insula.v1.results_service_pb2_grpc import ResultsServiceStub
from insula.v1.submit_service_pb2 import SubmitWorkloadsRequest, SubmitWorkloadsResponse
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub
from insula.v1.workload_pb2 import Workload
from insula_results.fetching import IDS_MAX, RESULT_BYTES_MAX
from insula_submit.batches import PAYLOADS_MAX
from tests.contract.batches.bodies import post
from tests.stack import Stack

CALL_S = 90
JSON = "application/json"


def batch(*payloads: bytes, api: str = "echo", key: str = "", number: int = 1) -> SubmitWorkloadsRequest:
    return SubmitWorkloadsRequest(
        api=api, content_type=JSON, payloads=payloads, idempotency_key=key, first_number=number
    )


def submit(channel: grpc.Channel, *messages: SubmitWorkloadsRequest) -> list[SubmitWorkloadsResponse]:
    return list(SubmitServiceStub(channel).SubmitWorkloads(iter(messages), timeout=CALL_S))


def fetch(channel: grpc.Channel, ids: Iterable[str], wait_s: int = 0) -> list[FetchWorkloadsResponse]:
    request = FetchWorkloadsRequest(api="echo", ids=ids, wait=Duration(seconds=wait_s))
    return list(ResultsServiceStub(channel).FetchWorkloads(request, timeout=CALL_S))


def workloads_in(messages: Iterable[FetchWorkloadsResponse]) -> list[Workload]:
    return [workload for message in messages for workload in message.workloads]


def reason(status: Status) -> str:
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def test_each_batch_is_answered_by_its_ids_in_order(channel: grpc.Channel) -> None:
    first, second = submit(channel, batch(b"[1]", b"[2]"), batch(b"[3]"))
    ids = [*first.ids, *second.ids]
    ends = {one.id: one.result_json for one in workloads_in(fetch(channel, ids, wait_s=60))}
    assert [ends[id] for id in ids] == [b'{"payload": [1]}', b'{"payload": [2]}', b'{"payload": [3]}']


def test_a_batch_is_answered_before_the_next_one_is_sent(channel: grpc.Channel) -> None:
    outgoing: SimpleQueue[SubmitWorkloadsRequest | None] = SimpleQueue()
    answers: Iterator[SubmitWorkloadsResponse] = SubmitServiceStub(channel).SubmitWorkloads(
        iter(outgoing.get, None), timeout=CALL_S
    )
    for _ in range(3):
        outgoing.put(batch(b"[]"))
        assert len(next(answers).ids) == 1
    outgoing.put(None)
    assert list(answers) == []


def test_an_error_of_a_payload_is_its_answer(channel: grpc.Channel) -> None:
    """A refused payload has the reason that SubmitWorkload gives. The other payloads and batches are not affected."""
    unknown, full, untyped, good = submit(
        channel,
        batch(b"[]", b"[]", api="nobody"),
        batch(*[b"600"] * 7, api="full"),
        SubmitWorkloadsRequest(api="echo", payloads=[b"x"]),
        batch(b"[]"),
    )
    assert (list(unknown.ids), [reason(each.error) for each in unknown.refusals]) == (["", ""], ["API_NOT_FOUND"] * 2)
    refused = {each.index: each.error for each in full.refusals}
    assert {index for index, id in enumerate(full.ids) if not id} == refused.keys()
    assert {(error.code, reason(error)) for error in refused.values()} == {(8, "QUEUE_FULL")}
    assert [reason(each.error) for each in untyped.refusals] == ["CONTENT_TYPE_MISSING"]
    assert good.ids[0]


@pytest.mark.parametrize("count", [0, PAYLOADS_MAX + 1])
def test_a_batch_over_its_limit_ends_the_call_after_the_answers_before_it(channel: grpc.Channel, count: int) -> None:
    answers = SubmitServiceStub(channel).SubmitWorkloads(iter([batch(b"[]"), batch(*[b""] * count)]), timeout=CALL_S)
    assert len(next(answers).ids) == 1
    with pytest.raises(grpc.RpcError, match="must have 1 to 1000"):
        next(answers)


def test_h7_a_key_and_a_number_name_a_payload_in_both_protocols(stack: Stack, channel: grpc.Channel) -> None:
    payloads = [b"[1]", b"[2]", b'"' + b"x" * 50_000 + b'"', b"[4]"]
    by_lines = [answer["id"] for answer in post(stack, b"\n".join(payloads), idempotency_key="both")]
    first, second = submit(channel, batch(*payloads[:2], key="both"), batch(*payloads[2:], key="both", number=3))
    assert [*first.ids, *second.ids] == by_lines
    [conflict] = submit(channel, batch(b"[9]", key="both", number=2))
    assert [reason(each.error) for each in conflict.refusals] == ["IDEMPOTENCY_CONFLICT"]


def test_large_and_small_payloads_of_a_batch_keep_their_places(channel: grpc.Channel) -> None:
    payloads = [b'"%s"' % (b"x" * length) for length in (1, 40_000, 2, 400_000, 3)]
    [answer] = submit(channel, batch(*payloads))
    ends = {one.id: one.result_json for one in workloads_in(fetch(channel, answer.ids, wait_s=60))}
    assert [ends[id] for id in answer.ids] == [b'{"length": %d}' % length for length in (1, 40_000, 2, 400_000, 3)]


def test_a_fetch_without_a_wait_returns_each_state_now(channel: grpc.Channel) -> None:
    """Each unknown or malformed id is answered with its own failure. An id that is given twice is answered once."""
    [answer] = submit(channel, batch(b"[]", b"3"))
    quick, slow = answer.ids
    fetch(channel, [quick], wait_s=60)
    unknown = new_id()
    messages = fetch(channel, [slow, unknown, quick, "x", quick])
    statuses = {one.id: one.status for one in workloads_in(messages)}
    assert statuses[quick] == "completed"
    assert statuses[slow] in ("in_queue", "in_progress")
    assert len(workloads_in(messages)) == 2
    failures = [(each.id, reason(each.error)) for message in messages for each in message.failures]
    assert sorted(failures) == sorted([(unknown, "WORKLOAD_NOT_FOUND"), ("x", "WORKLOAD_NOT_FOUND")])


def test_workloads_are_sent_as_they_end_and_the_others_after_the_wait(channel: grpc.Channel) -> None:
    [answer] = submit(channel, batch(b"0.2", b"0.3", b"[]", b"15"))
    slow = answer.ids[3]
    request = FetchWorkloadsRequest(api="echo", ids=reversed(answer.ids), wait=Duration(seconds=60))
    ends = (one.id for message in ResultsServiceStub(channel).FetchWorkloads(request) for one in message.workloads)
    assert {next(ends) for _ in range(3)} == set(answer.ids[:3])
    [found] = workloads_in(fetch(channel, [slow], wait_s=1))
    assert found.id == slow
    assert found.status in ("in_queue", "in_progress")
    assert next(ends) == slow


def test_a_large_result_is_left_out(channel: grpc.Channel) -> None:
    """FetchWorkloads returns the workload without a result over the limit. GetWorkload returns the result."""
    large, larger = b'"grow%s"' % (b"x" * 5_000), b'"grow%s"' % (b"x" * (RESULT_BYTES_MAX // 3))
    [answer] = submit(channel, batch(large, larger))
    found = {one.id: one for one in workloads_in(fetch(channel, answer.ids, wait_s=60))}
    assert len(found[answer.ids[0]].result_json) > 15_000
    assert (found[answer.ids[1]].status, found[answer.ids[1]].result_json) == ("completed", b"")


def test_thousands_of_workloads_are_fetched_in_one_call(channel: grpc.Channel) -> None:
    answers = submit(channel, *[batch(*[b"[]"] * 500) for _ in range(4)])
    ids = [id for answer in answers for id in answer.ids]
    found = workloads_in(fetch(channel, ids, wait_s=60))
    assert {one.id for one in found} == set(ids)
    assert len(found) == 2_000


@pytest.mark.parametrize("count", [0, IDS_MAX + 1])
def test_a_fetch_of_no_or_too_many_ids_is_refused(channel: grpc.Channel, count: int) -> None:
    with pytest.raises(grpc.RpcError, match="ids: there must be 1 to 10000"):
        fetch(channel, [new_id()] * count)
