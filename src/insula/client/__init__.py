"""The Python clients of Insula, over gRPC: `Client`, and `AsyncClient` for asyncio.

with Client("http://127.0.0.1:8080") as insula:
    print(insula.run("text-generator", {"text": "machine learning is"}))
"""

from __future__ import annotations

from insula.client.async_client import AsyncClient
from insula.client.failures import CallFailed, Unreachable, WorkloadFailed
from insula.client.payloads import AsyncPayload, Payload
from insula.client.sync_client import Client
from insula.client.workload import Failure, Outcome, Submitted, Workload

__all__ = [
    "AsyncClient",
    "AsyncPayload",
    "CallFailed",
    "Client",
    "Failure",
    "Outcome",
    "Payload",
    "Submitted",
    "Unreachable",
    "Workload",
    "WorkloadFailed",
]
