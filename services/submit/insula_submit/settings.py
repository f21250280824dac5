"""The settings of submit, from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from insula.settings import PAYLOAD_BYTES_MAX, StoreSettings, admin_token
from insula.variables import Text

LISTEN: Final = Text("INSULA_LISTEN", "`host:port` or `unix:PATH` of SubmitService", required=True)
HTTP_SOCKET: Final = Text(
    "INSULA_HTTP_SOCKET", "path of a Unix socket where the edge calls the same service over HTTP/1.1; none without it"
)
ADMIN_LISTEN: Final = Text("INSULA_ADMIN_LISTEN", "`host:port` or `unix:PATH` of ApiService", required=True)


@dataclass(frozen=True)
class Settings:
    """The settings of submit. Addresses are host:port or unix:PATH. Envoy should have the same `payload_bytes_max`.

    `admin_token` is the token that callers of ApiService must send; None if ApiService is on a Unix socket.
    """

    stores: StoreSettings
    listen: str
    http_socket: Path | None
    admin_listen: str
    admin_token: str | None
    payload_bytes_max: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from the environment variables. Raises SettingInvalid, which names the variable."""
        admin_listen = ADMIN_LISTEN.read(environment)
        http_socket = HTTP_SOCKET.read(environment)
        return cls(
            stores=StoreSettings.read(environment),
            listen=LISTEN.read(environment),
            http_socket=Path(http_socket) if http_socket else None,
            admin_listen=admin_listen,
            admin_token=admin_token(environment, admin_listen),
            payload_bytes_max=PAYLOAD_BYTES_MAX.read(environment),
        )
