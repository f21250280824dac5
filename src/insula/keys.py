"""The name of every Redis key. Only the ledger, the registry and the access rules use this module.

All keys of one API have the hash tag `{api}`, so a script that uses them stays in one slot of a Redis Cluster. The
scripts build the keys that contain an id, see ledger/scripts/library.lua.
"""

from __future__ import annotations

from typing import Final

APIS: Final = "insula:apis"
"""Hash: API name -> a mark, which changes with each deployment. No TTL."""
ENDPOINTS: Final = "insula:endpoints"
"""Hash: endpoint -> the API that claims it, and the time of the claim. No TTL."""
EVERY_API: Final = "insula:{*}:*"
"""Pattern of the keys of all APIs."""
BUCKET_CHARS: Final = 10
"""The first characters of an id, nine digits and a hyphen, name its bucket: a hash with the records of ended workloads.
Nine digits are 36 bits of the id's time, so a bucket holds the submits of 4.096 s."""


class ApiKeys:
    """The Redis keys of one API."""

    def __init__(self, api: str) -> None:
        self.prefix: Final = f"insula:{{{api}}}:"
        prefix = self.prefix
        self.queue: Final = f"{prefix}queue"  # stream; an entry is deleted when its workload ends
        self.ended: Final = f"{prefix}ended"  # zset: buckets by the ended_ms of the first retained record in each
        self.counts: Final = f"{prefix}counts"  # hash: status -> number of retained workloads
        self.updates: Final = f"{prefix}updates"  # stream, approximate MAXLEN: one entry per change of status
        self.dead: Final = f"{prefix}dead"  # zset: ids that ran out of deliveries, by ended_ms
        self.uploads: Final = (
            f"{prefix}uploads"  # zset: S3 objects without a workload (not committed yet, or discarded), by intent_ms
        )
        self.closed: Final = f"{prefix}closed"  # string: exists if the API is deleted and accepts no workloads
        self.registration: Final = f"{prefix}registration"  # hash: the API as deployed; no TTL
        self.workers: Final = f"{prefix}workers"  # hash, TTL: worker name -> its last report, protobuf
        self.samples: Final = f"{prefix}samples"  # hash, TTL: start of a time slot in ms -> workloads in flight
        self.all: Final = (
            *(self.queue, self.ended, self.counts, self.updates),
            *(self.dead, self.uploads, self.closed),
        )

    def idempotency(self, digest: str) -> str:
        """Return the key of a hash, TTL 24 h: the workload of an Idempotency-Key, and the digest of its request.

        `digest` is that of the Idempotency-Key.
        """
        return f"{self.prefix}idempotency:{digest}"

    def workload(self, id: str) -> str:
        """Return the key of a hash: the record of workload `id` until the workload ends."""
        return f"{self.prefix}workload:{id}"

    def ended_bucket(self, id: str) -> tuple[str, str]:
        """Return the key of a bucket (hash, TTL: records of ended workloads), and the field of workload `id` in it."""
        return f"{self.prefix}ended:{id[:BUCKET_CHARS]}", id[BUCKET_CHARS:]
