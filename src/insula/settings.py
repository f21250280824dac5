"""The settings that all services have. Each service reads them from its environment once, in its `__main__`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from insula.ledger import LedgerPolicy
from insula.rpc.addresses import unix_socket
from insula.variables import Choice, Location, Secret, Text, Whole

REDIS_URL: Final = Secret("INSULA_REDIS_URL", "URL of Redis 7.0 or later, or of Valkey 7.2 or later", required=True)
DURABILITY: Final = Choice(
    "INSULA_DURABILITY",
    "`strict` refuses a Redis that answers before a write is on disk; `relaxed` accepts the loss of accepted workloads",
    ("strict", "relaxed"),
)
S3_BUCKET: Final = Text("INSULA_S3_BUCKET", "bucket of payloads, results and bundles", "insula")
S3_SOCKET: Final = Location("INSULA_S3_SOCKET", "Unix socket of S3; without it, `AWS_ENDPOINT_URL` counts")
STORES_FOLDER: Final = Location(
    "INSULA_STORES_FOLDER", "folder of the stores; if its disk is full when a store fails, the error is `STORAGE_FULL`"
)
LEASE_S: Final = Whole("INSULA_LEASE_S", "seconds without a renewal after which a worker loses its workloads", 30)
RETENTION_S: Final = Whole("INSULA_RETENTION_S", "seconds that an ended workload is kept", 7 * 24 * 3600)
MAX_DELIVERIES: Final = Whole("INSULA_MAX_DELIVERIES", "lost attempts after which a workload fails", 3)
ADMIN_TOKEN: Final = Secret(
    "INSULA_ADMIN_TOKEN", "token that callers of an admin service on TCP must send; required there"
)
PAYLOAD_BYTES_MAX: Final = Whole(
    "INSULA_PAYLOAD_BYTES_MAX", "bytes of the largest payload; submit and Envoy have the same limit", 2 * 1024**3
)


def own_environment() -> dict[str, str]:
    """Return the environment variables of this process."""
    return dict(os.environ)


@dataclass(frozen=True)
class StoreSettings:
    """The stores, and the limits that all processes share. boto3 reads S3's endpoint and keys from AWS_*.

    `s3_socket` is a Unix socket to use instead of S3's endpoint. `folder` is the folder in which stores on this machine
    keep their data; None for stores elsewhere.
    """

    redis_url: str
    bucket: str
    s3_socket: Path | None
    durability: str
    policy: LedgerPolicy
    folder: Path | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings. Raises SettingInvalid, which names the variable."""
        policy = LedgerPolicy(
            lease=timedelta(seconds=LEASE_S.read(environment)),
            retention=timedelta(seconds=RETENTION_S.read(environment)),
            max_deliveries=MAX_DELIVERIES.read(environment),
        )
        return cls(
            redis_url=REDIS_URL.read(environment),
            bucket=S3_BUCKET.read(environment),
            s3_socket=S3_SOCKET.read(environment),
            durability=DURABILITY.read(environment),
            policy=policy,
            folder=STORES_FOLDER.read(environment),
        )


def admin_token(environment: Mapping[str, str], listen: str) -> str | None:
    """Return the token that callers of an admin service must send; None on a Unix socket, which needs none.

    Raises SettingInvalid if `listen` is a TCP address and there is no token.
    """
    if unix_socket(listen) is not None:
        return None
    return replace(ADMIN_TOKEN, required=True).read(environment)
