"""Reply codes of the Lua scripts, as enums. Any other reply is a bug in Insula and raises UnknownReply."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar


class UnknownReply(RuntimeError):
    """A script returned an unknown code. This is a bug in Insula, not an error of a user."""

    def __init__(self, script: str, reply: object) -> None:
        super().__init__(f"{script}.lua returned {reply!r}")


class Submitted(IntEnum):
    """The answer of submit.lua about one workload, if the answer is not the id of an earlier workload."""

    ACCEPTED = 1
    QUEUE_FULL = 0
    API_DELETED = -1
    CONFLICT = -2  # the Idempotency-Key was used for another request
    UPLOAD_GONE = -3  # the upload took too long


class Renewed(IntEnum):
    """The reply of renew.lua about one lease."""

    RENEWED = 1
    OVER = 0  # the attempt has ended, its workload is back in the queue, or its record is damaged
    LOST = -1


class Finished(IntEnum):
    """The reply of finish.lua about one attempt."""

    NOW = 1
    BEFORE = 0  # this attempt had finished it before
    LOST = -1


class Requeued(IntEnum):
    """The reply of requeue.lua: what has become of the workload."""

    WAITS = 1  # back in the queue
    FAILED = 2  # no deliveries are left
    CANCELLED = 3  # its API is deleted
    LOST = -1


class Done(IntEnum):
    """The reply of cancel.lua, drop.lua and forget.lua."""

    NOW = 1
    NOTHING = 0  # nothing to do, or not allowed yet
    NOT_YET = -1  # only from forget: the retention is not over


Word = TypeVar("Word", bound=IntEnum)


def word(kind: Callable[[Any], Word], script: str, reply: object) -> Word:
    """Return the reply of `script` as a member of the enum `kind`. Raises UnknownReply."""
    try:
        return kind(reply)
    except ValueError:
        raise UnknownReply(script, reply) from None
