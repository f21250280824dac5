"""When a client retries a submit, and when it does not."""

from __future__ import annotations

import grpc
import pytest

from insula import IdempotencyConflict, InvalidArgument, StoreUnavailable, Unreachable
from insula.client import flows
from insula.client.payloads import CHUNK_BYTES
from tests.unit.client.conftest import Twin
from tests.unit.client.scripted import Script

LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize("code", LOST, ids=lambda code: code.name)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_submit_with_a_key_is_retried_with_the_same_key(
    call: Twin, script: Script, code: grpc.StatusCode, before: bool
) -> None:
    """The client retries whether the call is lost before the submit is accepted, or its reply is lost afterwards."""
    script.lost_answers, script.lost_before, script.lost_as = 2, before, code
    assert call("submit", "a", {"x": 1}, idempotency_key="order-7") == "id-1"
    assert script.keys == ["order-7"] * 3
    assert len(script.submitted) == (1 if before else 3)


def test_a_submit_with_a_key_is_retried_while_a_store_is_unavailable(call: Twin, script: Script) -> None:
    script.refusals = [StoreUnavailable("Redis")]
    assert call("submit", "a", b"x", idempotency_key="k") == "id-1"
    assert script.submits == 2


def test_a_submit_without_a_key_is_not_retried(call: Twin, script: Script) -> None:
    script.lost_answers = 1
    with pytest.raises(Unreachable):
        call("submit", "a", b"x")
    assert (script.submits, script.keys) == (1, [])


def test_a_refused_submit_is_not_retried(call: Twin, script: Script) -> None:
    script.refusal = IdempotencyConflict("a")
    with pytest.raises(IdempotencyConflict):
        call("submit", "a", b"x", idempotency_key="k")
    assert script.submits == 1


def test_a_large_payload_in_memory_is_retried_and_a_stream_is_not(call: Twin, script: Script) -> None:
    """A payload from a file or an iterable can be read only once, so its submit is not retried."""
    script.refusals = [StoreUnavailable("S3")]
    with pytest.raises(StoreUnavailable):
        call("submit", "a", iter([b"x"]), idempotency_key="k")
    assert script.submits == 1
    script.refusals = [StoreUnavailable("S3")]
    assert call("submit", "a", bytes(2 * CHUNK_BYTES), idempotency_key="k") == "id-1"
    assert script.submits == 3
    assert script.keys[-2:] == ["k", "k"]


def test_after_a_minute_the_last_error_is_raised(call: Twin, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "REPEAT_S", 0.2)
    script.refusal = StoreUnavailable("Redis")
    with pytest.raises(StoreUnavailable, match="Redis does not answer"):
        call("submit", "a", b"x", idempotency_key="k")
    assert script.submits > 1


def test_run_accepts_a_key(call: Twin, script: Script) -> None:
    script.echo, script.lost_answers, script.lost_before = True, 1, True
    assert call("run", "a", {"x": 1}, idempotency_key="k") == {"x": 1}
    assert script.keys == ["k", "k"]


@pytest.mark.parametrize("key", ["", "ä", "a\nb", "x" * 256])
def test_a_key_that_is_no_valid_header_value_is_refused(call: Twin, script: Script, key: str) -> None:
    with pytest.raises(InvalidArgument, match="idempotency_key: must be 1 to 255 printable ASCII characters"):
        call("submit", "a", b"x", idempotency_key=key)
    assert script.submits == 0
