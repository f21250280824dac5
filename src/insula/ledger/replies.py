"""What the scripts return, as words. A reply that is not here is a bug of ours: UnknownReply."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar


class UnknownReply(RuntimeError):
    """A script returned what its caller does not know; no user is to blame."""

    def __init__(self, script: str, reply: object) -> None:
        super().__init__(f"{script}.lua returned {reply!r}")


class Submitted(IntEnum):
    """The first element of what submit returns."""

    ACCEPTED = 1
    QUEUE_FULL = 0
    API_DELETED = -1
    CONFLICT = -2  # the Idempotency-Key stands for another request
    UPLOAD_GONE = -3  # the upload took too long


class Renewed(IntEnum):
    """What renew returns for each lease."""

    RENEWED = 1
    OVER = 0  # the attempt has ended or was given back
    LOST = -1


class Finished(IntEnum):
    """What finish returns."""

    NOW = 1
    BEFORE = 0  # by this same attempt
    LOST = -1


class Requeued(IntEnum):
    """What requeue returns."""

    WAITS = 1
    FAILED = 2  # it is out of deliveries
    CANCELLED = 3  # its API is deleted
    LOST = -1


class Done(IntEnum):
    """What cancel, drop and forget return."""

    NOW = 1
    NOTHING = 0  # there was nothing to do, or it must not be done yet
    NOT_YET = -1  # of forget alone: the retention has not passed


Word = TypeVar("Word", bound=IntEnum)


def word(kind: Callable[[Any], Word], script: str, reply: object) -> Word:
    """Return the reply of `script` as a word. Raises UnknownReply."""
    try:
        return kind(reply)
    except ValueError:
        raise UnknownReply(script, reply) from None
