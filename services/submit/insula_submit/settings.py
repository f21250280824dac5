"""What submit reads from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from insula.settings import StoreSettings, admin_token, positive_number, required


@dataclass(frozen=True)
class Settings:
    """`listen` and `admin_listen` are host:port or unix:PATH; the payload limit should be the edge's too.

    `admin_token` is what callers of ApiService must send, None on a Unix socket.
    """

    stores: StoreSettings
    listen: str
    admin_listen: str
    admin_token: str | None
    payload_bytes_max: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Raises SettingInvalid, which names the variable."""
        admin_listen = required(environment, "INSULA_ADMIN_LISTEN")
        return cls(
            stores=StoreSettings.read(environment),
            listen=required(environment, "INSULA_LISTEN"),
            admin_listen=admin_listen,
            admin_token=admin_token(environment, admin_listen),
            payload_bytes_max=positive_number(environment, "INSULA_PAYLOAD_BYTES_MAX", 2 * 1024**3),
        )
