"""Readiness probes of parts. All but `running` check that the part's own process listens on the socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from insula_local.supervision.supervise import Probe

_UCRED: Final = struct.Struct("3i")
"""pid, uid and gid of the listening process (unix(7): SO_PEERCRED)."""


class Stranger(OSError):
    """Another process listens on the socket."""


def running() -> Probe:
    """Ready at once. For workers, which report their state to the registry."""

    async def probe(pid: int) -> bool:
        return pid > 0

    return probe


def listening(*sockets: Path) -> Probe:
    """Ready when the process listens on all the sockets."""

    async def probe(pid: int) -> bool:
        for path in sockets:
            async with _connected(path, pid):
                continue
        return True

    return probe


def redis(path: Path) -> Probe:
    """Ready when Redis has loaded its data and answers."""

    async def probe(pid: int) -> bool:
        async with _connected(path, pid) as (reader, writer):
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"  # while it loads its data, it replies -LOADING

    return probe


def http(path: Path, target: str) -> Probe:
    """Ready when the process answers a GET of the URL path `target` with 200. `path` is its Unix socket."""

    async def probe(pid: int) -> bool:
        async with _connected(path, pid) as (reader, writer):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in await reader.readline()

    return probe


@asynccontextmanager
async def _connected(path: Path, pid: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the socket. Raises OSError if nothing listens, Stranger if neither `pid` nor a descendant does."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        peer: socket.socket = writer.get_extra_info("socket")
        listener, _, _ = _UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if not _is_below(listener, pid):
            raise Stranger(f"the process {listener} listens on {path}")
        yield reader, writer
    finally:
        writer.close()


def _is_below(descendant: int, ancestor: int) -> bool:
    """Whether `descendant` is the process `ancestor` or one of its descendants."""
    while descendant not in (ancestor, 0):
        stat = Path(f"/proc/{descendant}/stat").read_text(encoding="utf-8", errors="replace")
        descendant = int(stat.rpartition(")")[2].split()[1])
    return descendant == ancestor
