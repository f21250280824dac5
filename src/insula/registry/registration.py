"""The registration of a deployed API, and its format in Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

VERSION_DIGITS: Final = 32
"""Length of a version in hex digits. 128 bits are enough for uniqueness; more would enlarge each record."""
QUEUE_LIMIT: Final = 102_400
"""Queue limit of a registration that has none. It is the limit of the default configuration."""


def version_of(spec_json: bytes, bundle: bytes) -> str:
    """Return the version: a hash of the configuration, as canonical JSON, and of the bundle's bytes."""
    return hashlib.sha256(spec_json + b"\0" + bundle).hexdigest()[:VERSION_DIGITS]


@dataclass(frozen=True)
class Registration:
    """A deployed API. `spec` is its configuration as canonical JSON; times are Unix milliseconds by Redis' clock.

    `queue_limit` is the most workloads that may wait or run (invariant I11). `generation` counts the calls of
    `Registry.refresh`, after which workers start the handlers again. `active_version` is the version that became ready
    last, and `active_spec` its configuration; both are empty until a version is ready. `deleted_ms` is 0 for a live
    API. A deleted API stays registered so that its workloads can be read.
    """

    name: str
    endpoint: str
    version: str
    spec: str
    queue_limit: int
    created_ms: int
    updated_ms: int
    active_version: str = ""
    active_spec: str = ""
    generation: int = 0
    deleted_ms: int = 0

    @property
    def live(self) -> bool:
        """Whether the API accepts workloads."""
        return self.deleted_ms == 0

    @property
    def active(self) -> Self | None:
        """The registration with the active version in place of the latest; None if none is active or both are equal."""
        if not self.active_spec or self.active_version == self.version:
            return None
        return replace(self, version=self.active_version, spec=self.active_spec)

    @property
    def versions(self) -> set[str]:
        """The versions whose bundles a worker may fetch. A deleted API has no such versions."""
        return {self.version, self.active_version} if self.live else set()

    @classmethod
    def parse(cls, name: str, record: Mapping[bytes, bytes]) -> Self:
        """Parse the hash of an API. If another version of Insula wrote it, fields may be missing or unknown."""
        text = {key.decode(): value.decode() for key, value in record.items()}
        return cls(
            name=name,
            endpoint=text.get("endpoint", f"/{name}"),
            version=text.get("version", ""),
            spec=text.get("spec", "{}"),
            queue_limit=int(text.get("queue_limit", QUEUE_LIMIT)),
            created_ms=int(text.get("created_ms", 0)),
            updated_ms=int(text.get("updated_ms", 0)),
            active_version=text.get("active_version", ""),
            active_spec=text.get("active_spec", ""),
            generation=int(text.get("generation", 0)),
            deleted_ms=int(text.get("deleted_ms", 0)),
        )

    def fields(self) -> dict[str, str | int]:
        """Return the fields that this version of Insula writes to the hash."""
        return asdict(self)
