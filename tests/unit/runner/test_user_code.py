"""Any exception of user code is returned as a message and a traceback of limited length."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from insula_runner.user_code import (
    MESSAGE_CHARACTERS_MAX,
    TRACEBACK_CHARACTERS_MAX,
    Raised,
    Returned,
    call_user_code,
)


def raising(error: BaseException) -> Callable[[], object]:
    def user_function() -> object:
        raise error

    return user_function


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def caught(error: BaseException) -> Raised:
    outcome = call_user_code(raising(error))
    assert isinstance(outcome, Raised)
    return outcome


def test_a_value_is_returned() -> None:
    assert call_user_code(lambda: 3) == Returned(3)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such model"), "ValueError: no such model"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (Unprintable(), "Unprintable: <its text could not be made>"),
    ],
)
def test_a_message_is_type_and_text(error: BaseException, message: str) -> None:
    assert caught(error).message == message


def test_a_traceback_begins_in_user_code() -> None:
    trace = caught(ValueError("x")).traceback
    assert "in user_function" in trace
    assert "in call_user_code" not in trace


def test_texts_are_bounded() -> None:
    """A long message keeps its beginning, and a long traceback keeps its end."""
    raised = caught(ValueError("a" * (1 << 20) + "end"))
    assert raised.message.startswith("ValueError: aaa")
    assert len(raised.message) < MESSAGE_CHARACTERS_MAX + 100
    assert len(raised.traceback) < TRACEBACK_CHARACTERS_MAX + 100
    assert raised.traceback.endswith("end\n")
