"""The host names under which a handler calls the other APIs of the stack."""

from __future__ import annotations

from pathlib import Path
from typing import Final

API_PREFIX: Final = "api-"
NAMES_MAX: Final = 1000
"""Maximum number of names. All names fit into one message to the runner."""


class Neighbours:
    """Reads the handlers' hosts file, which gets an entry for each deployed API."""

    def __init__(self, hosts: Path | None) -> None:
        """`hosts` is the hosts file. It is None if another service, such as DNS, resolves the names."""
        self._hosts = hosts
        self._seen = (0, 0)
        self._names: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return the current names: api-<name> for each API, NAMES_MAX at most. Empty without a hosts file."""
        if self._hosts is None:
            return ()
        try:
            found = self._hosts.stat()
            seen = (found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                lines = self._hosts.read_text(encoding="utf-8", errors="replace").splitlines()
                words = [word for line in lines for word in line.partition("#")[0].split()[1:]]
                self._names, self._seen = tuple(word for word in words if word.startswith(API_PREFIX))[:NAMES_MAX], seen
        except OSError:
            return self._names  # the file is being rewritten
        return self._names
