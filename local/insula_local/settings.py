"""The settings of `insula up`, from its command line and its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from insula.data_directory import cache_of
from insula.process.isolation import Isolation
from insula.settings import REDIS_URL, redis_url
from insula.telemetry.log_lines import LogForm
from insula.variables import SettingInvalid

INTERNAL_PORT: Final = 8888
"""Port of the inner listener, the same as on Kubernetes: handlers call http://api-<name>:8888/."""


PAYLOAD_BYTES_MAX: Final = 2 * 1024**3
"""Default size of the largest payload. submit and Envoy must have the same limit."""


PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/._+-]+")
"""A path whose characters have no meaning in a socket address or in a URL."""


class Refused(Exception):
    """The stack was not started. The text is one paragraph with the reason and what to do."""


@dataclass(frozen=True)
class Settings:
    """Paths are absolute, addresses IPv4 literals.

    `ask` is whether to ask the user before a dependencies.sh runs. `anyone_may_call` allows a public listener that
    other machines can reach, although it has no authentication. `cors_origins` are the origins whose pages may read
    replies; "*" is any. `address_requests_per_s` limits each client address; 0 means no limit. `log_form` is the format
    of workers' log lines. If `verbose`, lines about each workload and phase are printed too. Parts inherit
    `environment`. `replicas` are the values `API=N` of `--replicas`; `processes` is the value of `--processes`.
    """

    data: Path
    public_port: int = 8080
    public_address: str = "127.0.0.1"
    internal_address: str = "127.0.0.1"
    as_json: bool = False
    watch: bool = False
    log_form: LogForm = LogForm.PLAIN
    verbose: bool = False
    ask: bool = False
    isolation: Isolation = Isolation.AUTO
    anyone_may_call: bool = False
    cors_origins: tuple[str, ...] = ("*",)
    address_requests_per_s: int = 0
    replicas: tuple[str, ...] = ()
    processes: str = "1"
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @cached_property
    def redis_url(self) -> str | None:
        """The URL of the user's own Redis, including its password; None if the stack starts Valkey.

        Raises Refused if a variable for Redis is invalid.
        """
        if not any(self.environment.get(name) for name in (REDIS_URL.name, f"{REDIS_URL.name}_FILE")):
            return None
        try:
            return redis_url(self.environment)
        except SettingInvalid as error:
            raise Refused(f"{error}.") from error

    @property
    def runtime(self) -> Path:
        """The folder for temporary folders: XDG_RUNTIME_DIR if it exists and matches PLAIN_PATH, else /tmp."""
        given = Path(self.environment.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 - any path below TMPDIR may be long
        return given if given.is_dir() and PLAIN_PATH.fullmatch(str(given)) else Path("/tmp")  # noqa: S108

    @property
    def cache(self) -> Path:
        """The cache folder of all parts."""
        return cache_of(self.data, self.environment)

    @property
    def payload_bytes_max(self) -> int:
        """Size of the largest payload, for submit and Envoy. Raises Refused for an invalid INSULA_PAYLOAD_BYTES_MAX."""
        text = self.environment.get("INSULA_PAYLOAD_BYTES_MAX", str(PAYLOAD_BYTES_MAX))
        if not text.isascii() or not text.isdigit() or int(text) == 0:
            raise Refused(f"INSULA_PAYLOAD_BYTES_MAX must be a whole number of at least 1 (got {text!r}).")
        return int(text)
