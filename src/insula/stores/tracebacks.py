"""The traceback of a failed workload: which calls may request it, and where it is kept.

A traceback shows the handler's code, so callers of an API do not get it. Calls on the in-cluster listener and on the
admin address can request it. The public listener removes METADATA from requests (envoy.yaml).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from insula.ledger import Failure
from insula.stores.objects import ObjectNotFound, ObjectStore

METADATA: Final = "x-insula-traceback"
"""With the value 1, a read also returns `failure.traceback`. The edge sets it for ?traceback=1."""


def is_asked_for(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether the metadata of a call asks for tracebacks."""
    return (METADATA, "1") in (tuple(item) for item in metadata or ())


async def read(objects: ObjectStore, failure: Failure | None) -> str:
    """At most the last 8 KiB of the traceback; empty if there is none. Raises StoreUnavailable."""
    if failure is None:
        return ""
    if failure.traceback_object:
        with suppress(ObjectNotFound):  # the worker did not see S3 take it
            return b"".join([chunk async for chunk in objects.read(failure.traceback_object)]).decode()
    return failure.traceback
