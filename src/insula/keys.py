"""The name of every Redis key and S3 object.

All keys of one API share its hash tag `{api}`, so a script that takes them stays in one slot of a Redis Cluster.
"""

from __future__ import annotations

from typing import Final

APIS: Final = "insula:apis"
"""Hash: API name -> its registration, JSON. The registry; no TTL."""
BUNDLES: Final = "bundles/"
"""What the S3 keys of all project bundles start with; no API is called so, since a name has no slash."""


class ApiKeys:
    """The Redis keys of one API."""

    def __init__(self, api: str) -> None:
        self.prefix: Final = f"insula:{{{api}}}:"
        prefix = self.prefix
        self.queue: Final = f"{prefix}queue"  # stream; an entry is deleted when its workload ends
        self.index: Final = f"{prefix}index"  # zset, score 0: every retained id, in order of submission
        self.ended: Final = f"{prefix}ended"  # zset: ended ids by ended_ms
        self.counts: Final = f"{prefix}counts"  # hash: status -> number of retained workloads
        self.updates: Final = f"{prefix}updates"  # stream, approximate MAXLEN: one entry per change of status
        self.dead: Final = f"{prefix}dead"  # zset: ids that ran out of deliveries, by ended_ms
        self.uploads: Final = (
            f"{prefix}uploads"  # zset: S3 objects that belong to no workload, or not yet, by intent_ms
        )
        self.closed: Final = f"{prefix}closed"  # string: there if the API is deleted and takes no workloads
        self.workers: Final = f"{prefix}workers"  # hash, TTL: worker name -> its last report, protobuf
        self.workload_prefix: Final = f"{prefix}workload:"  # + id: hash, the record
        self.all: Final = (
            *(self.queue, self.index, self.ended, self.counts),
            *(self.updates, self.dead, self.uploads, self.closed),
        )

    def idempotency(self, digest: str) -> str:
        """Hash, TTL 24 h: the id that answered an Idempotency-Key, and the digest of its request."""
        return f"{self.prefix}idempotency:{digest}"

    def workload(self, id: str) -> str:
        """The hash that records workload `id`."""
        return self.workload_prefix + id


def workload_objects(api: str, id: str) -> str:
    """What the S3 keys of all objects of a workload start with."""
    return f"{api}/{id}/"


def payload_object(api: str, id: str) -> str:
    """S3 key of a payload that is too large for the queue."""
    return f"{workload_objects(api, id)}payload"


def result_object(api: str, id: str, attempt: int) -> str:
    """S3 key of a result that is too large for the record; one per attempt, so a stale attempt cannot overwrite it."""
    return f"{workload_objects(api, id)}result.{attempt}"


def bundle_object(version: str) -> str:
    """S3 key of the project bundle of a version."""
    return f"{BUNDLES}{version}.zip"
