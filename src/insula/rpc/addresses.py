"""Addresses of servers: `host:port`, or `unix:PATH` in gRPC's form (also `unix:///PATH` with an absolute path)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_UNIX: Final = "unix:"


def unix_socket(address: str) -> Path | None:
    """Return the path in the address of a Unix socket; None for host:port."""
    return Path(address.removeprefix(_UNIX).removeprefix("//")) if address.startswith(_UNIX) else None


def is_this_machine(address: str) -> bool:
    """Whether the server is on this machine: a Unix socket or a loopback address."""
    return address.startswith((_UNIX, "127.", "localhost:", "[::1]:"))
