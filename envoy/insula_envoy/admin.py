"""Calls to Envoy's admin interface on its Unix socket."""

from __future__ import annotations

import http.client
import re
import socket
from pathlib import Path
from typing import Final

CALL_S: Final = 1.0
_ACTIVE: Final = re.compile(r"^http\.(?:public|in_cluster)\.downstream_rq_active: (\d+)$", re.MULTILINE)


class EnvoyUnavailable(Exception):
    """Envoy did not answer a call, for example because it has ended."""


class _OverSocket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(path: Path, method: str, target: str) -> str:
    """Return the body of the answer to a request of `target` over the socket `path`. Ignores the HTTP status.

    Blocks, for CALL_S at most at each read or write. Raises EnvoyUnavailable.
    """
    connection = _OverSocket(path)
    try:
        connection.request(method, target)
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise EnvoyUnavailable(str(error)) from error
    finally:
        connection.close()


def active_requests(path: Path) -> int:
    """Return the number of running requests on the public and the inner listener. Blocks. Raises EnvoyUnavailable."""
    return sum(map(int, _ACTIVE.findall(call(path, "GET", "/stats?filter=downstream_rq_active"))))
