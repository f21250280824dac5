"""Ports and loopback addresses that no other test session on this machine uses.

Each running session holds a number. Its ports and addresses are computed from that number. The ports are lower than
those that `insula up` and the kernel choose.
"""

from __future__ import annotations

import itertools
import socket
from functools import cache
from typing import Final

from insula_local.machine.ports import LOWEST, is_free

SESSIONS: Final = 250
PORTS_FROM: Final = 2048
PORTS_EACH: Final = (LOWEST - PORTS_FROM) // SESSIONS
_held: Final[list[socket.socket]] = []
_ports = itertools.count()
_addresses = itertools.count()


@cache
def _session() -> int:
    """Return the number of this test session: the lowest one that is free. An abstract Unix socket reserves it."""
    for number in range(SESSIONS):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0insula-tests-{number}")
        except OSError:
            held.close()
            continue
        _held.append(held)
        return number
    raise AssertionError(f"{SESSIONS} test sessions run on this machine")


def free_port() -> int:
    """Return a port on which no process listens. A port is returned again only after all other ports of the session."""
    first = PORTS_FROM + _session() * PORTS_EACH
    return next(port for n in itertools.islice(_ports, 1000) if is_free("", port := first + n % PORTS_EACH))


def own_address() -> str:
    """Return a loopback address of this session."""
    return f"127.{_session() + 2}.{next(_addresses) % 250 + 2}.1"


def free_addresses() -> tuple[int, str]:
    """Return a port for the public listener of a stack, and an address for its internal listeners."""
    return free_port(), own_address()
