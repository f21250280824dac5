"""The ledger: the queue, the records and the only ways they change."""

from insula.ledger.ledger import Claimant, LedgerPolicy, WorkloadLedger
from insula.ledger.records import Accepted, Claim, Failure, Idempotency, Lease, Payload, Result, Workload

__all__ = [
    "Accepted",
    "Claim",
    "Claimant",
    "Failure",
    "Idempotency",
    "Lease",
    "LedgerPolicy",
    "Payload",
    "Result",
    "Workload",
    "WorkloadLedger",
]
