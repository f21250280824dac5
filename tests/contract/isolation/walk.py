"""Lists the ports, sockets and processes of a stack as root, and tries to access them as another user."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.ordinary_user import UID, OrdinaryUser
from tests.processes import descendants

LISTEN: Final = "0A"
LISTENS: Final = 0x10000
"""The flag __SO_ACCEPTCON in /proc/net/unix: the socket listens."""

STRANGER: Final = UID + 1
"""Another user of the machine, who does not own the stack."""

TRY_ALL: Final = """
import os, socket

def tried(connect):
    try:
        connect()
    except OSError as error:
        return type(error).__name__
    return "connected"

def over_unix(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect("\\0" + path[1:] if path.startswith("@") else path)

def over_tcp(host, port):
    socket.create_connection((host, port), 2).close()

def read(path):
    with open(path, "rb") as file:
        if not file.read(1):  # the process is a zombie, whose files every user may open
            raise ProcessLookupError

found = {
    "sockets": {path: tried(lambda: over_unix(path)) for path in sockets},
    "ports": {f"{host}:{port}": tried(lambda: over_tcp(host, port)) for host, port in ports},
    "processes": {
        f"{pid}/{name}": tried(lambda: read(f"/proc/{pid}/{name}"))
        for pid in pids for name in ("environ", "mem", "maps", "auxv")
    },
    "signals": {str(pid): tried(lambda: os.kill(pid, 0)) for pid in pids},
    "files": sorted(os.path.join(path, name) for path, _, names in os.walk(data) for name in names),
}
"""
"""Code that tries every given socket, port and process, and stores the result of each try in `found`.

`found["files"]` are the files in the data directory that are visible.
"""


def tcp_listeners(pids: Iterable[int]) -> set[tuple[str, int]]:
    """Return the TCP addresses on which the processes listen, in the network namespace of this test.

    Other namespaces are not reachable, so they are left out.
    """
    inodes = _inodes(pids)
    rows = [line.split() for table in ("tcp", "tcp6") for line in _rows(Path("/proc/net") / table)]
    return {_address(row[1]) for row in rows if row[3] == LISTEN and row[9] in inodes}


def unix_listeners(pids: Iterable[int]) -> set[str]:
    """Return the Unix sockets on which the processes listen, in all network namespaces. Abstract ones start with @."""
    pids = list(pids)
    inodes = _inodes(pids)
    rows = [line.split(maxsplit=7) for pid in pids for line in _rows(Path(f"/proc/{pid}/net/unix"))]
    return {row[7] for row in rows if len(row) > 7 and int(row[3], 16) & LISTENS and row[6] in inodes}


def everyone(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    return [pid, *descendants(pid)]


def try_as(uid: int, user: OrdinaryUser, **values: Any) -> dict[str, Any]:
    """Run TRY_ALL as the user with `uid`, with the Python of `user`. Return its `found`. `values` are its variables."""
    code = "\n".join([*(f"{name} = {value!r}" for name, value in values.items()), TRY_ALL])
    code += "\nimport json\nprint(json.dumps(found))"
    done = subprocess.run(
        [user.python, "-I", "-c", code],
        env=user.process["env"],
        cwd="/",
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _rows(table: Path) -> list[str]:
    try:
        return table.read_text().splitlines()[1:]
    except OSError:  # the process ended
        return []


def _inodes(pids: Iterable[int]) -> set[str]:
    return {target[8:-1] for pid in pids for target in _targets(pid) if target.startswith("socket:[")}


def _targets(pid: int) -> Iterator[str]:
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for link in links:
        try:
            yield str(link.readlink())
        except OSError:
            continue


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    last = struct.pack("<I", int(host[-8:], 16))  # an IPv4 address, or one mapped into IPv6
    return socket.inet_ntoa(last), int(port, 16)
