"""What results reads from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from insula.settings import StoreSettings, required


@dataclass(frozen=True)
class Settings:
    """`listen` is host:port or unix:PATH, and `metrics_listen` if anybody is to scrape."""

    stores: StoreSettings
    listen: str
    metrics_listen: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Raises SettingInvalid, which names the variable."""
        return cls(
            stores=StoreSettings.read(environment),
            listen=required(environment, "INSULA_LISTEN"),
            metrics_listen=environment.get("INSULA_METRICS_LISTEN") or None,
        )
