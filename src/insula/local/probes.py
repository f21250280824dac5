"""When a part counts as ready. Each probe also makes sure that it is our own child who answers."""

from __future__ import annotations

import asyncio

from insula.local.ports import listens
from insula.local.supervise import Probe


def running() -> Probe:
    """At once: the part says by other means how it is."""

    async def probe(pid: int) -> bool:
        return pid > 0

    return probe


def listening(address: str, *ports: int) -> Probe:
    """When it listens on all the ports."""

    async def probe(pid: int) -> bool:
        for port in ports:  # the kernel's table of sockets can be long: look into it once somebody answers
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
        return all(listens(pid, address, port) for port in ports)

    return probe


def redis(address: str, port: int) -> Probe:
    """When it has loaded its data and answers, under its own pid."""

    async def probe(pid: int) -> bool:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(b"PING\r\nINFO server\r\n")
            if await reader.readline() != b"+PONG\r\n":
                return False  # -LOADING
            size = int((await reader.readline())[1:])
            information = await reader.readexactly(size)
            return f"process_id:{pid}".encode() in information.splitlines()
        finally:
            writer.close()

    return probe


def http(address: str, port: int, path: str) -> Probe:
    """When it answers a GET of the path with 200."""

    async def probe(pid: int) -> bool:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in await reader.readline() and listens(pid, address, port)
        finally:
            writer.close()

    return probe
