"""The hosts file of handlers: the names in the machine's own file, and a name for each API."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

ETC_HOSTS: Final = Path("/etc/hosts")


def render(address: str, apis: Iterable[str]) -> str:
    """Return the machine's /etc/hosts with a line for each API, so that http://api-<name>:8888/ works."""
    try:
        machine = ETC_HOSTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        machine = "127.0.0.1 localhost\n"
    return machine.rstrip("\n") + "\n" + "".join(line(address, api) for api in apis)


def line(address: str, api: str) -> str:
    """Return the line that maps the host name `api-<api>` to the address."""
    return f"{address} api-{api}\n"
