"""The boundary to user code: whatever it raises comes back as text, and the runner lives on."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any, Callable, NamedTuple, Optional, Union

from insula_runner.channel import Channel

MESSAGE_CHARACTERS_MAX = 16 << 10
TRACEBACK_CHARACTERS_MAX = 64 << 10

_LIBRARY = os.path.dirname(os.__file__)
# Between us and user code: ourselves, the import of its file, the loop of its coroutines.
_NOT_THE_USERS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    "<frozen importlib",
    os.path.join(_LIBRARY, "importlib") + os.sep,
    os.path.join(_LIBRARY, "asyncio") + os.sep,
)


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
    """Turn an exception into texts of bounded length; the traceback begins in user code."""
    text = exception_text(error)
    kind = type(error).__name__
    message = f"{kind}: {text}" if text else kind
    trace = users_part(error.__traceback__)
    lines = "".join(traceback.format_exception(type(error), error, trace))
    if trace is None:  # a file that does not compile: the exception itself names the place
        lines = f"Traceback (most recent call last):\n{lines}"
    return Raised(cut(text, MESSAGE_CHARACTERS_MAX), cut(message, MESSAGE_CHARACTERS_MAX), tail(lines), error)


def users_part(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """Return the traceback from the first frame that is not on the way to user code."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        trace = trace.tb_next
    return trace


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
