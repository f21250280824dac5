"""What every service reads from its environment, once, in its `__main__`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from insula.errors import InsulaError
from insula.ledger import LedgerPolicy


class SettingInvalid(InsulaError):
    """An environment variable is missing or malformed; the text names it."""


@dataclass(frozen=True)
class StoreSettings:
    """Where the stores are, and the limits all processes share. S3's endpoint and keys are boto3's own AWS_*."""

    redis_url: str
    bucket: str
    durability: str
    policy: LedgerPolicy

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read INSULA_REDIS_URL, _S3_BUCKET, _DURABILITY, _LEASE_S, _RETENTION_S and _MAX_DELIVERIES."""
        policy = LedgerPolicy(
            lease=timedelta(seconds=positive_number(environment, "INSULA_LEASE_S", 30)),
            retention=timedelta(seconds=positive_number(environment, "INSULA_RETENTION_S", 7 * 24 * 3600)),
            max_deliveries=positive_number(environment, "INSULA_MAX_DELIVERIES", 3),
        )
        return cls(
            redis_url=required(environment, "INSULA_REDIS_URL"),
            bucket=environment.get("INSULA_S3_BUCKET", "insula"),
            durability=one_of(environment, "INSULA_DURABILITY", ("strict", "relaxed")),
            policy=policy,
        )


def required(environment: Mapping[str, str], name: str) -> str:
    """The variable, which has to be there. Raises SettingInvalid."""
    value = environment.get(name, "")
    if not value:
        raise SettingInvalid(f"the environment variable {name} must be set")
    return value


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
