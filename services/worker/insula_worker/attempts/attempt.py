"""One attempt at a workload, from its claim to the write of its outcome."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from insula.ledger import Claim, Lease

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(eq=False, slots=True)
class Attempt:
    """A claimed workload. `claimed_at` is in seconds by the loop's clock.

    `answered` is true once no runner has more to do with it.
    """

    claim: Claim
    claimed_at: float
    trace_id: str = field(init=False)
    answered: bool = False

    def __post_init__(self) -> None:
        """Use the client's trace id. Without one, use the workload's id, which has as many digits."""
        found = _TRACEPARENT.match(self.claim.traceparent)  # from the client's header, so it may be malformed
        self.trace_id = found[1] if found else self.lease.id.replace("-", "")

    @property
    def lease(self) -> Lease:
        """The lease under which the attempt runs."""
        return self.claim.lease

    @property
    def fields(self) -> dict[str, object]:
        """The fields of its log lines."""
        return {"id": self.lease.id, "traceId": self.trace_id}
