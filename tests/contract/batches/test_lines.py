"""POST /{endpoint}:batch: each line of the body is a workload, and each line of the answer is its id or its error."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.contract.batches.bodies import NDJSON, answers_in, post, reasons, sending
from tests.http_api import HttpApi
from tests.processes import memory_mb
from tests.stack import Stack

CUTS = 20
"""The number of connections of each kind that a test cuts. A race condition would show at one of them."""
LARGE = json.dumps("x" * 100_000).encode()
VERY_LARGE = json.dumps("y" * 3_000_000).encode()


@pytest.fixture
def api(stack: Stack) -> HttpApi:
    return HttpApi(f"{stack.public}/echo")


def workloads(stack: Stack) -> int:
    return sum(stack.counts("echo").values())


def test_each_line_is_a_workload_and_is_answered_in_order(stack: Stack, api: HttpApi) -> None:
    """A line ends with LF or CRLF, or with the body. Lines without a payload are skipped."""
    before = workloads(stack)
    answers = post(stack, b'{"n": 1}\n\n{"n": 2}\r\n  \r\n{"n": 3}')
    assert [api.end(answer["id"])["result"]["payload"] for answer in answers] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert workloads(stack) == before + 3


def test_a_line_has_the_content_type_of_json_and_is_not_parsed(stack: Stack, api: HttpApi) -> None:
    """A line that is not JSON is accepted, as in a POST of its own. Its workload fails with PAYLOAD_INVALID."""
    [answer] = post(stack, b"{not json\n")
    assert api.end(answer["id"])["error"]["reason"] == "PAYLOAD_INVALID"


def test_lines_of_any_length_arrive_whole(stack: Stack, api: HttpApi) -> None:
    """Short lines are stored in Redis, longer ones in S3. The longest lines are never whole in submit's memory."""
    answers = post(stack, b"\n".join([b'"a"', LARGE, VERY_LARGE, b'"bc"', VERY_LARGE]))
    lengths = [api.end(answer["id"])["result"]["length"] for answer in answers]
    assert lengths == [1, 100_000, 3_000_000, 2, 3_000_000]


def test_an_empty_body_has_no_answers(stack: Stack) -> None:
    assert post(stack, b"") == []
    assert post(stack, b"\n\r\n") == []


def test_handlers_submit_batches_by_the_name_of_an_api(stack: Stack, api: HttpApi) -> None:
    headers = {"Host": "api-echo:8888", "Content-Type": NDJSON}
    reply = requests.post(f"{stack.internal}/:batch", data=b"[1]\n[2]\n", headers=headers, timeout=30)
    ends = [api.end(answer["id"])["result"] for answer in answers_in(reply.content)]
    assert ends == [{"payload": [1]}, {"payload": [2]}]


def test_lines_are_answered_while_the_body_is_still_sent(stack: Stack) -> None:
    with sending(f"{stack.public}/echo:batch") as batch:
        for count in range(1, 4):
            batch.send(b"[]\n[")
            assert len(set(batch.ids(count))) == count
            batch.send(b"]")


def test_a_cut_line_makes_no_workload_and_the_lines_before_it_do(stack: Stack, api: HttpApi) -> None:
    """The client disconnects in the middle of a line, before or after it has read an answer."""
    before = workloads(stack)
    for _ in range(CUTS):
        with sending(f"{stack.public}/echo:batch") as batch:
            batch.send(b"12345")
        with sending(f"{stack.public}/echo:batch") as batch:
            batch.send(b"[1]\n123")
            batch.ids(1)
        with sending(f"{stack.public}/echo:batch") as batch:
            batch.send(VERY_LARGE[:-100])
    api.run(b"[]", "application/json")  # when it has ended, all earlier requests have been processed
    assert workloads(stack) == before + CUTS + 1


def test_a_full_queue_refuses_its_lines_and_the_call_goes_on(stack: Stack) -> None:
    """I11: nothing is stored for a refused line. Its answer is the error that a single POST gets."""
    free = 5 - stack.counts("full").get("in_queue", 0) - stack.counts("full").get("in_progress", 0)
    answers = post(stack, b"600\n" * 600, api="full")
    assert reasons(answers) == [""] * free + ["QUEUE_FULL"] * (600 - free)
    headers = {"Content-Type": "application/json"}
    alone = requests.post(f"{stack.public}/full", data=b"600", headers=headers, timeout=30)
    assert alone.status_code == 429
    assert answers[-1] == alone.json()
    assert stack.counts("full")["in_queue"] + stack.counts("full")["in_progress"] == 5


def test_h7_a_repeated_batch_repeats_nothing(stack: Stack) -> None:
    """The idempotency key of a line consists of the request's Idempotency-Key and the number of the line."""
    before = workloads(stack)
    lines = [b"[]", b"[]", LARGE, b"[1]"]
    first = post(stack, b"\n".join(lines), idempotency_key="b-1")
    again = post(stack, b"\n\n".join(lines) + b"\n", idempotency_key='"b-1"')
    assert again == first
    assert len({answer["id"] for answer in first}) == 4
    assert workloads(stack) == before + 4
    changed = post(stack, b"[]\n[7]\n", idempotency_key="b-1")
    assert changed[0] == first[0]
    assert reasons(changed) == ["", "IDEMPOTENCY_CONFLICT"]
    assert "id" in post(stack, b"[]", idempotency_key="b-11")[0], "another key"


def test_a_body_may_be_compressed(stack: Stack, api: HttpApi) -> None:
    body = b"[1]\n" + LARGE + b"\n[2]"
    ends = [api.end(answer["id"])["status"] for answer in post(stack, gzip.compress(body), content_encoding="gzip")]
    assert ends == ["completed"] * 3


def test_a_body_that_is_no_gzip_is_refused_or_ends_with_the_error(stack: Stack) -> None:
    """If the first bytes are not gzip, the status is 400. If the gzip is cut off later, the last line is the error."""
    lines = b"".join(b"[%d]\n" % number for number in range(60_000))
    cut_off = gzip.compress(lines, compresslevel=0)[:-4000]
    answers = post(stack, cut_off, api="full", content_encoding="gzip")
    assert reasons(answers)[-1] == "ENCODING_INVALID"
    headers = {"Content-Type": NDJSON, "Content-Encoding": "gzip"}
    assert requests.post(f"{stack.public}/echo:batch", data=b"[]", headers=headers, timeout=30).status_code == 400


@pytest.mark.parametrize(
    ("path", "content_type", "status", "reason"),
    [
        ("nobody:batch", NDJSON, 404, "API_NOT_FOUND"),
        ("echo:batch", "application/json", 400, "INVALID_ARGUMENT"),
        ("echo:batch", "", 400, "CONTENT_TYPE_MISSING"),
    ],
)
def test_a_request_without_any_answer_is_refused_as_a_whole(
    stack: Stack, path: str, content_type: str, status: int, reason: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    reply = requests.post(f"{stack.public}/{path}", data=b"[]\n", headers=headers, timeout=30)
    assert (reply.status_code, reply.json()["details"][0]["reason"]) == (status, reason)


def test_the_query_string_overrides_neither_path_nor_body(stack: Stack) -> None:
    query = "?endpoint=nobody&api=nobody&payload.content_type=text/plain&payload.data=x"
    reply = requests.post(f"{stack.public}/echo:batch{query}", data=b"[]", headers={"Content-Type": NDJSON}, timeout=30)
    assert [list(answer) for answer in answers_in(reply.content)] == [["id"]]


@pytest.mark.slow
def test_h10_a_large_batch_takes_a_few_megabytes(stack: Stack) -> None:
    """100 MB of lines cost submit less than 40 MB of memory. The queue is full, so each line is refused at once."""
    [submit] = stack.processes("submit")
    post(stack, b"[]\n" * 1000, api="full")
    before_mb = memory_mb(submit)

    piece = (b'"' + b"z" * 997 + b'"\n') * 1000
    with sending(f"{stack.public}/full:batch") as batch, ThreadPoolExecutor(1) as sender:
        sender.map(batch.send, [*[piece] * 100, b""])
        batch.read_answers(100_000)
    assert memory_mb(submit, "VmHWM") - before_mb < 40
