"""The boundary to user code: its exceptions are returned as text, and the runner continues."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any, Callable, NamedTuple, Optional, Union

from insula_runner.channel import Channel

MESSAGE_CHARACTERS_MAX = 16 << 10
TRACEBACK_CHARACTERS_MAX = 64 << 10

_LIBRARY = os.path.dirname(os.__file__)
# Frames that are not the user's: our own, the import of the file, and asyncio.
_NOT_THE_USERS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    "<frozen importlib",
    os.path.join(_LIBRARY, "importlib") + os.sep,
    os.path.join(_LIBRARY, "asyncio") + os.sep,
)


class Raised(NamedTuple):
    """An exception of user code. `text` is its str(); `message` is its type and text, as in `KeyError: 'a'`."""

    text: str
    message: str
    traceback: str
    error: BaseException


class Returned(NamedTuple):
    """The value that user code returned."""

    value: Any


def call_user_code(call: Callable[[], Any]) -> Union[Returned, Raised]:
    """Call user code and return its value or exception. A SystemExit or KeyboardInterrupt is returned too."""
    try:
        return Returned(call())
    except BaseException as error:  # noqa: BLE001 - the attempt boundary: user code may raise anything at all
        return describe(error)


def leave_if_forked(channel: Channel, outcome: Union[Returned, Raised]) -> None:
    """If this process is a child that user code forked, end it; else do nothing. Only the parent answers the job.

    The child ends by the exception in `outcome`, or with exit code 0.
    """
    if not channel.closed:
        return
    if isinstance(outcome, Raised):
        raise outcome.error
    raise SystemExit(0)


def describe(error: BaseException) -> Raised:
    """Return an exception as texts of limited length. The traceback begins in user code."""
    text = exception_text(error)
    kind = type(error).__name__
    message = f"{kind}: {text}" if text else kind
    trace = users_part(error.__traceback__)
    lines = "".join(traceback.format_exception(type(error), error, trace))
    if trace is None:  # the file does not compile, and the exception names the line
        lines = f"Traceback (most recent call last):\n{lines}"
    return Raised(cut(text, MESSAGE_CHARACTERS_MAX), cut(message, MESSAGE_CHARACTERS_MAX), tail(lines), error)


def users_part(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """Return the traceback from its first frame of user code; None if it has no such frame."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        trace = trace.tb_next
    return trace


def exception_text(error: BaseException) -> str:
    """Return str(error), or a fixed text if the user's __str__ raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - __str__ is user code
        return "<its text could not be made>"


def cut(text: str, characters_max: int) -> str:
    """Return the first `characters_max` characters of a text, with a note if it is longer."""
    return text if len(text) <= characters_max else text[:characters_max] + "... (cut)"


def tail(text: Optional[str]) -> str:
    """Return the last TRACEBACK_CHARACTERS_MAX characters of a traceback, because its end has the cause."""
    text = text or ""
    if len(text) <= TRACEBACK_CHARACTERS_MAX:
        return text
    return "(cut) ..." + text[-TRACEBACK_CHARACTERS_MAX:]
