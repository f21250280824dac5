"""The ledger: the queue, the records and the only ways they change."""

from insula.ledger.ledger import Claimant, LedgerPolicy, WorkloadLedger
from insula.ledger.records import Claim, Failure, Lease, Payload, Result, Workload

__all__ = ["Claim", "Claimant", "Failure", "Lease", "LedgerPolicy", "Payload", "Result", "Workload", "WorkloadLedger"]
