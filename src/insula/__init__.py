"""Insula turns a Python Handler class into a durable asynchronous API.

Users import the names in `__all__`. Each name is loaded at its first use. So `import insula` takes 10 ms, and not the
120 ms that it would take with gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insula.client import (
        AsyncClient,
        AsyncPayload,
        CallFailed,
        Client,
        Failure,
        Outcome,
        Payload,
        Submitted,
        Unreachable,
        Workload,
        WorkloadFailed,
    )
    from insula.errors import (
        ApiNotFound,
        ContentTypeMissing,
        EncodingInvalid,
        EncodingUnsupported,
        EndpointTaken,
        IdempotencyConflict,
        InsulaError,
        InvalidArgument,
        LeaseLost,
        NotFound,
        ObjectUnreadable,
        PayloadTooLarge,
        ProjectInvalid,
        QueueFull,
        ResourceExhausted,
        StorageFull,
        StoreFull,
        StoreUnavailable,
        Unauthenticated,
        WorkloadNotFound,
    )
    from insula.status import Status

__all__ = [
    "ApiNotFound",
    "AsyncClient",
    "AsyncPayload",
    "CallFailed",
    "Client",
    "ContentTypeMissing",
    "EncodingInvalid",
    "EncodingUnsupported",
    "EndpointTaken",
    "Failure",
    "IdempotencyConflict",
    "InsulaError",
    "InvalidArgument",
    "LeaseLost",
    "NotFound",
    "ObjectUnreadable",
    "Outcome",
    "Payload",
    "PayloadTooLarge",
    "ProjectInvalid",
    "QueueFull",
    "ResourceExhausted",
    "Status",
    "StorageFull",
    "StoreFull",
    "StoreUnavailable",
    "Submitted",
    "Unauthenticated",
    "Unreachable",
    "Workload",
    "WorkloadFailed",
    "WorkloadNotFound",
]

_HOMES = ("insula.errors", "insula.status", "insula.client")
"""The modules that define the names in `__all__`; the last module loads gRPC."""


def __getattr__(name: str) -> object:
    if name in __all__:
        for home in _HOMES:
            module = import_module(home)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
