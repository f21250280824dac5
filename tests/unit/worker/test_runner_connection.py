"""What a runner sends is checked. An error of the worker is not taken for one of the runner."""

from __future__ import annotations

import json
from typing import Any

import pytest

from insula_runner.frames import encode_frame
from insula_worker.runners.connection import RunnerConnection
from insula_worker.runners.messages import Outcome

RESULT = encode_frame({"type": "result", "job": 1, "handler_s": 0.001}, b"{}")


def receive(connection: RunnerConnection, message: bytes) -> None:
    connection.get_buffer(len(message))[: len(message)] = message
    connection.buffer_updated(len(message))


@pytest.mark.parametrize("error", [KeyError("id"), TypeError("no"), ValueError("no"), OSError("no")])
async def test_an_error_in_the_callback_is_the_workers(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    """An error in the worker's callback is logged with its traceback. The runner continues with its other jobs."""
    answered = list[int]()

    def on_answer(number: int, _: Outcome) -> bool:
        answered.append(number)
        raise error

    connection = RunnerConnection(on_answer)
    receive(connection, RESULT + RESULT)
    assert answered == [1, 1]
    assert connection.fault is None
    assert not connection.closed.is_set()
    [logged, _] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.exc_info is not None
    assert logged.exc_info[1] is error


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"job": 2, "handler_s": 0.001}, "it answers job 2, which it does not have"),
        ({"job": [], "handler_s": 0.001}, "int() argument"),
        ({"job": float("inf"), "handler_s": 0.001}, "infinity"),
        ({"job": 1, "handler_s": 10**400}, "too large"),
        ({"handler_s": 0.001}, "'job'"),
        ({"job": 1, "handler_s": -1}, "handler_s must be"),
    ],
)
async def test_an_answer_that_is_wrong_is_the_runners_fault(header: dict[str, Any], why: str) -> None:
    connection = RunnerConnection(lambda number, _: number == 1)
    receive(connection, encode_frame({"type": "result", **header}, json.dumps({}).encode()))
    assert connection.fault is not None
    assert why in connection.fault
    assert connection.closed.is_set()
