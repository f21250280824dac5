"""What every service reads from its environment, once, in its `__main__`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from insula.addresses import unix_socket
from insula.errors import InsulaError
from insula.ledger import LedgerPolicy


class SettingInvalid(InsulaError):
    """An environment variable is missing or malformed; the text names it."""


@dataclass(frozen=True)
class StoreSettings:
    """Where the stores are, and the limits all processes share. S3's endpoint and keys are boto3's own AWS_*.

    `s3_socket` is a Unix socket at which that S3 is reached instead. `folder` is where stores on this machine keep
    their data, None for stores elsewhere.
    """

    redis_url: str
    bucket: str
    s3_socket: Path | None
    durability: str
    policy: LedgerPolicy
    folder: Path | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read INSULA_REDIS_URL, _S3_BUCKET, _S3_SOCKET, _STORES_FOLDER, _DURABILITY and the limits of LedgerPolicy."""
        folder = environment.get("INSULA_STORES_FOLDER")
        policy = LedgerPolicy(
            lease=timedelta(seconds=positive_number(environment, "INSULA_LEASE_S", 30)),
            retention=timedelta(seconds=positive_number(environment, "INSULA_RETENTION_S", 7 * 24 * 3600)),
            max_deliveries=positive_number(environment, "INSULA_MAX_DELIVERIES", 3),
        )
        return cls(
            redis_url=required_secret(environment, "INSULA_REDIS_URL"),
            bucket=environment.get("INSULA_S3_BUCKET", "insula"),
            s3_socket=Path(socket) if (socket := environment.get("INSULA_S3_SOCKET")) else None,
            durability=one_of(environment, "INSULA_DURABILITY", ("strict", "relaxed")),
            policy=policy,
            folder=Path(folder) if folder else None,
        )


def required(environment: Mapping[str, str], name: str) -> str:
    """The variable, which has to be there. Raises SettingInvalid."""
    value = environment.get(name, "")
    if not value:
        raise SettingInvalid(f"the environment variable {name} must be set")
    return value


def secret(environment: Mapping[str, str], name: str) -> str:
    """The variable, or the text of the file that NAME_FILE names; empty without either. Raises SettingInvalid."""
    path = environment.get(f"{name}_FILE")
    if not path:
        return environment.get(name, "")
    if environment.get(name):
        raise SettingInvalid(f"set either {name} or {name}_FILE, not both")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"{name}_FILE: {path} cannot be read: {error}") from error


def required_secret(environment: Mapping[str, str], name: str) -> str:
    """The same, where it has to be there. Raises SettingInvalid."""
    value = secret(environment, name)
    if not value:
        raise SettingInvalid(f"the environment variable {name}, or {name}_FILE, must be set")
    return value


def admin_token(environment: Mapping[str, str], listen: str) -> str | None:
    """What callers of an admin service must send, None on a Unix socket, whose folder keeps others out.

    From INSULA_ADMIN_TOKEN, or the file INSULA_ADMIN_TOKEN_FILE. Raises SettingInvalid if a TCP address has none.
    """
    if unix_socket(listen) is not None:
        return None
    return required_secret(environment, "INSULA_ADMIN_TOKEN")


def positive_number(environment: Mapping[str, str], name: str, default: int) -> int:
    """The variable as a whole number of at least 1. Raises SettingInvalid."""
    text = environment.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise SettingInvalid(f"{name} must be a whole number of at least 1 (got {text!r})")
    return int(text)


def one_of(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The variable, which has to be one of `choices`; the first is the default. Raises SettingInvalid."""
    value = environment.get(name, choices[0])
    if value not in choices:
        raise SettingInvalid(f"{name} must be one of {', '.join(choices)} (got {value!r})")
    return value
