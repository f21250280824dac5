"""One attempt at a workload, from its claim to the write of its outcome."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from insula.ledger import Claim, Lease

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(eq=False, slots=True)
class Attempt:
    """A claimed workload. `claimed_at` is in seconds by the event loop's clock.

    `answered` is true once the attempt needs no runner any more.
    """

    claim: Claim
    claimed_at: float
    trace_id: str = field(init=False)
    answered: bool = False

    def __post_init__(self) -> None:
        """Set `trace_id` to the client's trace id, or else to the workload's id, which also has 32 hex digits."""
        found = _TRACEPARENT.match(self.claim.traceparent)  # from the client's header, so it may be malformed
        self.trace_id = found[1] if found else self.lease.id.replace("-", "")

    @property
    def lease(self) -> Lease:
        """The lease under which the attempt runs."""
        return self.claim.lease

    @property
    def fields(self) -> dict[str, object]:
        """The fields that identify the attempt in log lines: the workload's id and the trace id."""
        return {"id": self.lease.id, "traceId": self.trace_id}
