"""The settings of results, from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from insula.settings import StoreSettings
from insula.variables import Text

LISTEN: Final = Text("INSULA_LISTEN", "`host:port` or `unix:PATH` of ResultsService", required=True)
METRICS_LISTEN: Final = Text("INSULA_METRICS_LISTEN", "`host:port` or `unix:PATH` for Prometheus; none without it")


@dataclass(frozen=True)
class Settings:
    """`listen` and `metrics_listen` are host:port or unix:PATH; without the latter there are no metrics."""

    stores: StoreSettings
    listen: str
    metrics_listen: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Raises SettingInvalid, which names the variable."""
        return cls(
            stores=StoreSettings.read(environment),
            listen=LISTEN.read(environment),
            metrics_listen=METRICS_LISTEN.read(environment) or None,
        )
