"""The ledger: the queue and the records of workloads, and every operation that changes them."""

from insula.ledger.ledger import Claimant, LedgerPolicy, WorkloadLedger
from insula.ledger.records import (
    Accepted,
    Blame,
    Claim,
    Failure,
    Idempotency,
    Lease,
    Payload,
    Result,
    Submission,
    Workload,
)

__all__ = [
    "Accepted",
    "Blame",
    "Claim",
    "Claimant",
    "Failure",
    "Idempotency",
    "Lease",
    "LedgerPolicy",
    "Payload",
    "Result",
    "Submission",
    "Workload",
    "WorkloadLedger",
]
