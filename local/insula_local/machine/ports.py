"""Finds free ports, and the process that listens on a port."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from insula.data_directory import command_of

PROC: Final = Path("/proc")
LOWEST: Final = 10240
GRPC_OFFSET: Final = 10000
"""The gRPC port of SeaweedFS' admin server minus its HTTP port. SeaweedFS' admin worker has no flag for another one."""
_LISTEN: Final = "0A"
_EVERY_ADDRESS: Final = ""
_ATTEMPTS: Final = 1000


@dataclass(frozen=True)
class Process:
    """A process: its pid and its command."""

    pid: int
    command: str


class NoFreePort(Exception):
    """All ports that were tried are in use."""


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen on the port now. Raises OSError if no server can listen on this address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def choose(names: Iterable[str], remembered: Mapping[str, int], others: Iterable[int] = ()) -> dict[str, int]:
    """Return a port for each name, free on every address of this machine. A remembered port that is free is kept.

    `others` are ports that must not be chosen, even if they are free. Raises NoFreePort.

    The ports are free on every address, because SeaweedFS refuses a port that is taken on any address, for example by
    a stack on another loopback address. They are below the kernel's range for outgoing connections. In that range, an
    outgoing connection could take a dead part's port, and a client that retries could connect to itself.
    """
    chosen: dict[str, int] = {}
    given_away = tuple(others)
    for name in names:
        taken = {each for port in (*given_away, *chosen.values()) for each in _both(port)}
        port = remembered.get(name)
        chosen[name] = port if port is not None and _usable(port, taken) else _another(taken)
    return chosen


def _another(taken: Set[int]) -> int:
    highest = _first_outgoing_port() - 1 - GRPC_OFFSET
    for _ in range(_ATTEMPTS):
        port = random.randint(LOWEST, max(LOWEST + 1000, highest))
        if _usable(port, taken):
            return port
    raise NoFreePort("no free port was found")


def _usable(port: int, taken: Set[int]) -> bool:
    return all(each not in taken and is_free(_EVERY_ADDRESS, each) for each in _both(port))


def _both(port: int) -> tuple[int, int]:
    return port, port + GRPC_OFFSET


def _first_outgoing_port() -> int:
    try:
        return int((PROC / "sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768  # Linux' own default


def owner(address: str, port: int) -> Process | None:
    """Return the process that listens on the port; None if there is none, or if we may not inspect it."""
    inodes = _listening_inodes(address, port)
    for entry in PROC.iterdir() if inodes else ():
        if entry.name.isdigit() and not inodes.isdisjoint(_socket_inodes(int(entry.name))):
            return Process(int(entry.name), command_of(int(entry.name)))
    return None


def _listening_inodes(address: str, port: int) -> set[str]:
    here = socket.inet_aton(address)[::-1].hex().upper()
    mapped = "0000000000000000FFFF0000" + here  # an IPv4 address on a dual-stack socket, such as gRPC's
    wanted = {f"{host}:{port:04X}" for host in (here, mapped, "00000000", "0" * 32)}
    inodes: set[str] = set()
    for table in ("net/tcp", "net/tcp6"):
        with suppress(OSError):
            rows = (line.split() for line in (PROC / table).read_text().splitlines()[1:])
            inodes |= {row[9] for row in rows if row[3] == _LISTEN and row[1] in wanted}
    return inodes


def _socket_inodes(pid: int) -> set[str]:
    inodes: set[str] = set()
    with suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = os.readlink(link)  # noqa: PTH115 - the target is no path
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes
