"""The hosts file that handlers see: a name for each API on this machine, beside the machine's own names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

ETC_HOSTS: Final = Path("/etc/hosts")


def render(address: str, apis: Iterable[str]) -> str:
    """The machine's current file, then `api-<name>` for each API, so that http://api-<name>:8888/ needs no set-up."""
    try:
        machine = ETC_HOSTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        machine = "127.0.0.1 localhost\n"
    return machine.rstrip("\n") + "\n" + "".join(line(address, api) for api in apis)


def line(address: str, api: str) -> str:
    """The line of one API."""
    return f"{address} api-{api}\n"
