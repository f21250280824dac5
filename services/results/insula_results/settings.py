"""The settings of results, from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from insula.settings import StoreSettings
from insula.variables import Text

LISTEN: Final = Text("INSULA_LISTEN", "`host:port` or `unix:PATH` of ResultsService", required=True)
HTTP_SOCKET: Final = Text(
    "INSULA_HTTP_SOCKET", "path of a Unix socket where the edge calls the same service over HTTP/1.1; none without it"
)
METRICS_LISTEN: Final = Text("INSULA_METRICS_LISTEN", "`host:port` or `unix:PATH` for Prometheus; none without it")
SCALER_LISTEN: Final = Text("INSULA_SCALER_LISTEN", "`host:port` or `unix:PATH` of KEDA's scaler; none without it")


@dataclass(frozen=True)
class Settings:
    """The settings of results. `listen`, `metrics_listen` and `scaler_listen` are host:port or unix:PATH."""

    stores: StoreSettings
    listen: str
    http_socket: Path | None
    metrics_listen: str | None
    scaler_listen: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from the environment variables. Raises SettingInvalid, which names the variable."""
        http_socket = HTTP_SOCKET.read(environment)
        return cls(
            stores=StoreSettings.read(environment),
            listen=LISTEN.read(environment),
            http_socket=Path(http_socket) if http_socket else None,
            metrics_listen=METRICS_LISTEN.read(environment) or None,
            scaler_listen=SCALER_LISTEN.read(environment) or None,
        )
