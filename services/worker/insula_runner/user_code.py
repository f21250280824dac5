"""The boundary to user code: whatever it raises comes back as text, and the runner lives on."""

from __future__ import annotations

import traceback
from typing import Any, Callable, NamedTuple, Optional, Union

from insula_runner.channel import Channel

MESSAGE_CHARACTERS_MAX = 16 << 10
TRACEBACK_CHARACTERS_MAX = 64 << 10


class Raised(NamedTuple):
    """What user code raised. `text` is the exception's own, `message` has its type in front."""

    text: str
    message: str
    traceback: str
    error: BaseException


class Returned(NamedTuple):
    """What user code returned."""

    value: Any


def call_user_code(call: Callable[[], Any]) -> Union[Returned, Raised]:
    """Call it; sys.exit() and KeyboardInterrupt are its failures too, not our end."""
    try:
        return Returned(call())
    except BaseException as error:  # noqa: BLE001 - the attempt boundary: user code may raise anything at all
        return describe(error)


def leave_if_forked(channel: Channel, outcome: Union[Returned, Raised]) -> None:
    """End a child that user code made with os.fork() and that came back to us; to answer is its parent's business.

    It leaves the way its code asked for: with its exception, or quietly.
    """
    if not channel.closed:
        return
    if isinstance(outcome, Raised):
        raise outcome.error
    raise SystemExit(0)


def describe(error: BaseException) -> Raised:
    """Turn an exception into texts of bounded length; the frame of `call_user_code` is left out of the traceback."""
    text = exception_text(error)
    kind = type(error).__name__
    message = f"{kind}: {text}" if text else kind
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    lines = "".join(traceback.format_exception(type(error), error, trace))
    return Raised(cut(text, MESSAGE_CHARACTERS_MAX), cut(message, MESSAGE_CHARACTERS_MAX), tail(lines), error)


def exception_text(error: BaseException) -> str:
    """Return str(error), or a stand-in if the user's own __str__ fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - user code again: an exception that cannot even describe itself
        return "<its text could not be made>"


def cut(text: str, characters_max: int) -> str:
    """Keep the beginning of a text."""
    return text if len(text) <= characters_max else text[:characters_max] + "... (cut)"


def tail(text: Optional[str]) -> str:
    """Keep the end of a traceback, where its cause stands."""
    text = text or ""
    if len(text) <= TRACEBACK_CHARACTERS_MAX:
        return text
    return "(cut) ..." + text[-TRACEBACK_CHARACTERS_MAX:]
