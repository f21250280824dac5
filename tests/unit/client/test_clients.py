"""Both clients against a real gRPC server. Each test runs with each client."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from insula import errors
from insula.client import AsyncClient, CallFailed, Client, Unreachable, WorkloadFailed
from insula.client import Workload as ClientWorkload
from insula.client.payloads import CHUNK_BYTES, AsyncPayload
from insula.status import Status
from insula.v1.workload_pb2 import Failure, Workload
from tests.unit.client.conftest import Twin
from tests.unit.client.scripted import Script, serving_on_a_thread

RUNNING = Workload(id="id-1", api="a", status="in_progress", attempt=1)
DONE = Workload(
    id="id-1",
    api="a",
    status="completed",
    attempt=2,
    version="f" * 64,
    submit_time=Timestamp(seconds=1),
    start_time=Timestamp(seconds=2),
    end_time=Timestamp(seconds=3, nanos=500_000_000),
    result_json=b'{"n": 9007199254740993, "x": 1.0}',
)
FAILED = Workload(id="id-1", api="a", status="failed", failure=Failure(reason="HANDLER_ERROR", message="boom"))


PAYLOADS: list[tuple[Callable[[], AsyncPayload], str, bytes]] = [
    (lambda: {"a": [1, "ä"]}, "application/json", '{"a":[1,"ä"]}'.encode()),
    (lambda: [1, 2], "application/json", b"[1,2]"),
    (lambda: "hällo", "text/plain; charset=utf-8", "hällo".encode()),
    (lambda: b"\x00\xff", "application/octet-stream", b"\x00\xff"),
    (lambda: b"", "application/octet-stream", b""),
    (lambda: io.BytesIO(b"file"), "application/octet-stream", b"file"),
    (lambda: io.BytesIO(b""), "application/octet-stream", b""),
    (lambda: (part for part in (b"a", b"", b"b")), "application/octet-stream", b"ab"),
    (lambda: bytes(3 * CHUNK_BYTES + 5), "application/octet-stream", bytes(3 * CHUNK_BYTES + 5)),
]


@pytest.mark.parametrize(("payload", "content_type", "body"), PAYLOADS)
def test_a_payload_is_sent_with_its_content_type(
    call: Twin, script: Script, payload: Callable[[], AsyncPayload], content_type: str, body: bytes
) -> None:
    assert call("submit", "a", payload()) == "id-1"
    assert script.submitted == [("a", content_type, body)]


def test_a_given_content_type_replaces_the_default(call: Twin, script: Script) -> None:
    call("submit", "a", "ä", content_type="text/plain; charset=latin-1")
    call("submit", "a", {"a": 1}, content_type="application/x-mine")
    call("submit", "a", io.BytesIO(b"x"), content_type="image/png")
    assert script.submitted == [
        ("a", "text/plain; charset=latin-1", b"\xe4"),
        ("a", "application/x-mine", b'{"a":1}'),
        ("a", "image/png", b"x"),
    ]


def test_a_large_payload_is_sent_in_pieces(call: Twin, script: Script) -> None:
    call("submit", "a", iter([bytes(2 * CHUNK_BYTES + 1), b"x"]))
    assert script.pieces == [CHUNK_BYTES, CHUNK_BYTES, 1, 1]


async def test_the_async_client_accepts_asynchronous_iterables(script: Script) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    with serving_on_a_thread(script) as url:
        async with AsyncClient(url) as client:
            assert await client.submit("a", source()) == "id-1"
        assert script.submitted == [("a", "application/octet-stream", b"ab")]
        with Client(url) as other, pytest.raises(errors.InvalidArgument, match="needs AsyncClient"):
            await asyncio.to_thread(other.submit, "a", source())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (None, "payload: must be a dict, list, str, bytes, a binary file or an iterable of bytes, not NoneType"),
        (1, "not int"),
        ({"a": float("nan")}, "payload: cannot be written as JSON"),
        ({"a": object()}, "payload: cannot be written as JSON"),
        ("\ud800", "payload: cannot be written as utf-8"),
        (lambda: io.StringIO("text"), 'must yield bytes, not str; open files with mode "rb"'),
        (lambda: iter(["text"]), "must yield bytes, not str"),
    ],
)
def test_an_unsupported_payload_is_refused(call: Twin, script: Script, payload: object, problem: str) -> None:
    script.hold_uploads = True
    with pytest.raises(errors.InvalidArgument) as caught:
        call("submit", "a", payload() if callable(payload) else payload)
    assert problem in str(caught.value)
    assert script.submitted == []


async def test_cancelling_the_caller_cancels_the_upload(script: Script) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    script.hold_uploads = True
    with serving_on_a_thread(script) as url:
        async with AsyncClient(url) as client:
            submit = asyncio.create_task(client.submit("a", source()))
            await asyncio.to_thread(script.upload_began.wait, 10)
            submit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await submit
            assert await asyncio.to_thread(script.given_up.wait, 10)
    assert script.submitted == []


def test_an_error_of_reading_the_payload_is_raised_and_nothing_is_accepted(call: Twin, script: Script) -> None:
    def torn() -> Iterator[bytes]:
        yield b"a"
        raise OSError("disk gone")

    script.hold_uploads = True
    with pytest.raises(OSError, match="disk gone"):
        call("submit", "a", torn())
    assert script.given_up.wait(10)
    assert script.submitted == []


def test_get_returns_the_current_state_of_the_workload(call: Twin, script: Script) -> None:
    script.answers = [DONE]
    assert call("get", "a", "id-1") == ClientWorkload(
        id="id-1",
        api="a",
        status=Status.COMPLETED,
        attempt=2,
        version="f" * 64,
        submit_time=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        start_time=datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
        end_time=datetime(1970, 1, 1, 0, 0, 3, 500_000, tzinfo=UTC),
        result_json=b'{"n": 9007199254740993, "x": 1.0}',
        failure=None,
    )
    assert script.asked == [("a", "id-1", 0)]


def test_wait_repeats_its_call_until_the_workload_ends(call: Twin, script: Script) -> None:
    """Each call waits for the longest time that the service accepts."""
    script.answers = [RUNNING, RUNNING, DONE]
    assert call("wait", "a", "id-1").result == {"n": 9007199254740993, "x": 1.0}
    assert [wait_s for _, _, wait_s in script.asked] == [60, 60, 60]


def test_wait_raises_a_timeout_error_after_its_time(call: Twin, script: Script) -> None:
    script.answers = [RUNNING]
    with pytest.raises(TimeoutError, match=r"workload id-1 of a has not ended within 0\.05 s; it is still kept"):
        call("wait", "a", "id-1", 0.05)
    assert all(wait_s <= 0.05 for _, _, wait_s in script.asked)
    assert script.asked[-1][2] == 0


def test_run_returns_the_handlers_dictionary(call: Twin, script: Script) -> None:
    script.answers = [RUNNING, DONE]
    assert call("run", "a", {"x": 1}) == {"n": 9007199254740993, "x": 1.0}


def test_run_raises_the_failure_of_a_workload(call: Twin, script: Script) -> None:
    script.answers = [FAILED]
    with pytest.raises(WorkloadFailed, match="workload id-1 of a ended failed: boom") as caught:
        call("run", "a", {})
    failure = caught.value.workload.failure
    assert failure is not None
    assert failure.reason == "HANDLER_ERROR"


REFUSALS = [
    errors.IdempotencyConflict("a"),
    errors.Unauthenticated(),
    errors.StorageFull(),
    errors.ObjectUnreadable(),
    errors.EncodingInvalid("the payload is no gzip"),
    errors.EncodingUnsupported("br"),
    errors.ApiNotFound("a"),
    errors.QueueFull("a", 7, timedelta(seconds=3)),
    errors.StoreFull(),
    errors.PayloadTooLarge(5),
    errors.StoreUnavailable("Redis"),
    errors.ContentTypeMissing(),
    errors.ProjectInvalid("cortex.yaml: my-api (AsyncAPI): name: must be defined"),
    errors.EndpointTaken("/a", "b"),
    errors.InvalidArgument("content_type: too long"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("payload", [b"x", bytes(9 * CHUNK_BYTES)], ids=["message", "stream"])
def test_a_refused_submit_raises_the_services_error(
    call: Twin, script: Script, refusal: errors.InsulaError, payload: bytes
) -> None:
    """A refused submit without an idempotency key is not sent again, because it could be accepted twice."""
    script.refusal, script.refuse_uploads_at_once = refusal, True
    with pytest.raises(type(refusal)) as caught:
        call("submit", "a", payload)
    assert str(caught.value) == str(refusal)
    assert script.submits == 1
    if isinstance(refusal, errors.ResourceExhausted):
        assert isinstance(caught.value, errors.ResourceExhausted)
        assert caught.value.retry_after == refusal.retry_after


def test_the_error_of_a_missing_workload_names_it(call: Twin, script: Script) -> None:
    script.answers = [errors.WorkloadNotFound("a", "id-9")]
    with pytest.raises(errors.WorkloadNotFound) as caught:
        call("get", "a", "id-9")
    assert (caught.value.api, caught.value.id) == ("a", "id-9")


def test_reads_are_retried_while_the_store_is_unavailable(call: Twin, script: Script) -> None:
    script.answers = [errors.StoreUnavailable("Redis"), DONE]
    assert call("get", "a", "id-1").status is Status.COMPLETED
    assert len(script.asked) == 2


def test_any_other_status_is_in_the_error(call: Twin, script: Script) -> None:
    script.refusal = grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(CallFailed, match="PERMISSION_DENIED: not one of ours") as caught:
        call("submit", "a", b"")
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_unreachable_url_raises_unreachable(kind: str) -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        Twin(kind, "http://127.0.0.1:1")("submit", "a", b"")
