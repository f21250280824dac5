"""What submit reads from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from insula.settings import StoreSettings, positive_number, required


@dataclass(frozen=True)
class Settings:
    """`listen` and `admin_listen` are host:port; the payload limit should be the edge's too."""

    stores: StoreSettings
    listen: str
    admin_listen: str
    payload_bytes_max: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Raises SettingInvalid, which names the variable."""
        return cls(
            stores=StoreSettings.read(environment),
            listen=required(environment, "INSULA_LISTEN"),
            admin_listen=required(environment, "INSULA_ADMIN_LISTEN"),
            payload_bytes_max=positive_number(environment, "INSULA_PAYLOAD_BYTES_MAX", 2 * 1024**3),
        )
