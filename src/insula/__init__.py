"""Insula turns a Python Handler class into a durable asynchronous API.

The names below are what users import. They load when first asked for, so `import insula.errors` costs no gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insula.client import AsyncClient, Client, Workload, WorkloadFailed

__all__ = ["AsyncClient", "Client", "Workload", "WorkloadFailed"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from insula import client

    return getattr(client, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
