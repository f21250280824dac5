"""The settings that all services have. Each service reads them from its environment once, in its `__main__`.

`insula up` uses only the names of the variables. So redis-py and the ledger, which take 8 MB of memory, are imported in
functions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from insula.rpc.addresses import unix_socket
from insula.stores.objects import ADDRESSING, Bucket
from insula.variables import Choice, Location, Secret, SettingInvalid, Text, Whole

if TYPE_CHECKING:
    from insula.ledger import LedgerPolicy

REDIS_URL: Final = Secret(
    "INSULA_REDIS_URL",
    "URL of Redis 7.0 or later, or of Valkey 7.2 or later: `redis://`, `rediss://` (TLS) or `unix://`",
    required=True,
)
REDIS_USER: Final = Text("INSULA_REDIS_USER", "user of Redis, in place of the URL's")
REDIS_PASSWORD: Final = Secret("INSULA_REDIS_PASSWORD", "password of that user, in place of the URL's")
REDIS_CA_FILE: Final = Location(
    "INSULA_REDIS_CA_FILE", "certificates of the CA that signed Redis' certificate", "the system's CAs"
)
DURABILITY: Final = Choice(
    "INSULA_DURABILITY",
    "`strict` refuses a Redis that answers before a write is on disk; `relaxed` accepts the loss of accepted workloads",
    ("strict", "relaxed"),
)
S3_BUCKET: Final = Text("INSULA_S3_BUCKET", "bucket of payloads, results and bundles", "insula")
S3_ADDRESSING: Final = Choice(
    "INSULA_S3_ADDRESSING",
    "where requests name the bucket: `path` in the path, `virtual` in the host name; `auto` leaves it to boto3",
    ADDRESSING,
)
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


def redis_url(environment: Mapping[str, str]) -> str:
    """Return the URL of Redis, with user, password and CA certificates. Raises SettingInvalid."""
    from insula.stores.redis_client import complete_url

    url, ca_file = REDIS_URL.read(environment), REDIS_CA_FILE.read(environment)
    if ca_file is not None and not ca_file.is_file():
        raise SettingInvalid(f"{REDIS_CA_FILE.name}: there is no file {ca_file}")
    if ca_file is not None and not url.startswith("rediss://"):
        raise SettingInvalid(f"{REDIS_CA_FILE.name} needs an {REDIS_URL.name} that starts with rediss://")
    try:
        return complete_url(url, REDIS_USER.read(environment), REDIS_PASSWORD.read(environment), ca_file)
    except ValueError as error:
        raise SettingInvalid(f"{REDIS_URL.name}: {error}") from None


@dataclass(frozen=True)
class StoreSettings:
    """The addresses of the stores, and the limits that all processes share. boto3 reads the AWS_* variables itself.

    `redis_url` contains the user, the password and the path of the CA's certificates. `folder` is the folder in which
    stores on this machine keep their data; None for stores elsewhere.
    """

    redis_url: str = field(repr=False)
    bucket: Bucket
    durability: str
    policy: LedgerPolicy
    folder: Path | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables. Raises SettingInvalid, which names the variable."""
        from insula.ledger import LedgerPolicy

        policy = LedgerPolicy(
            lease=timedelta(seconds=LEASE_S.read(environment)),
            retention=timedelta(seconds=RETENTION_S.read(environment)),
            max_deliveries=MAX_DELIVERIES.read(environment),
        )
        return cls(
            redis_url=redis_url(environment),
            bucket=Bucket(
                S3_BUCKET.read(environment), S3_ADDRESSING.read(environment), socket=S3_SOCKET.read(environment)
            ),
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
