"""The five statuses of a workload, and their order.

in_queue ⇄ in_progress → completed | failed | cancelled
    └────────────────────────────→ failed | cancelled
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Status(StrEnum):
    """The status of a workload. HTTP callers, the Lua scripts and the records get these values."""

    IN_QUEUE = "in_queue"  # accepted and on disk, or returned to the queue; waits for an attempt
    IN_PROGRESS = "in_progress"  # an attempt has a lease on it
    COMPLETED = "completed"  # the handler returned a result
    FAILED = "failed"  # the handler, the payload or the workers failed; the failure has the reason
    CANCELLED = "cancelled"  # its API was deleted

    @property
    def ended(self) -> bool:
        """Whether the status is terminal: no later status follows it (invariant I3)."""
        return not SUCCESSORS[self]


SUCCESSORS: Final = MappingProxyType(
    {
        Status.IN_QUEUE: frozenset({Status.IN_PROGRESS, Status.FAILED, Status.CANCELLED}),
        Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.IN_QUEUE}),
        Status.COMPLETED: frozenset[Status](),
        Status.FAILED: frozenset[Status](),
        Status.CANCELLED: frozenset[Status](),
    }
)
assert SUCCESSORS.keys() == set(Status), "every status needs a row"
