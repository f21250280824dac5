"""The traceback of a failed workload: which calls may request it, and how it is read.

A traceback shows the handler's code, so callers of an API do not get it. Calls on the inner listener and on the
admin address can request it. The public listener removes METADATA from requests (envoy.yaml).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from insula.ledger import Failure
from insula.stores.objects import ObjectNotFound, ObjectStore

METADATA: Final = "x-insula-traceback"
"""Key in the gRPC metadata of a read. With the value 1, the read returns `failure.traceback`. The edge sets this for
?traceback=1."""


def is_asked_for(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether the metadata of a call requests the traceback."""
    return (METADATA, "1") in (tuple(item) for item in metadata or ())


async def read(objects: ObjectStore, failure: Failure | None) -> str:
    """Return at most the last 8 KiB of the traceback; empty if there is none. Raises StoreUnavailable."""
    if failure is None:
        return ""
    if failure.traceback_object:
        with suppress(ObjectNotFound):  # S3 had not confirmed the write to the worker
            return b"".join([chunk async for chunk in objects.read(failure.traceback_object)]).decode()
    return failure.traceback
