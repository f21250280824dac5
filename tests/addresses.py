"""Ports and loopback addresses that no other test session of this machine has, whichever of them runs beside it.

A session takes a number for as long as it lives, and what is made of it. Its ports lie below those that `insula up`
and the kernel choose from.
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
    """The lowest number that nobody holds; a socket without a file holds it until this process ends."""
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
    """A port that nobody listens on; each of the session's ports is given again after all others."""
    first = PORTS_FROM + _session() * PORTS_EACH
    return next(port for n in itertools.islice(_ports, 1000) if is_free("", port := first + n % PORTS_EACH))


def own_address() -> str:
    """A loopback address."""
    return f"127.{_session() + 2}.{next(_addresses) % 250 + 2}.1"


def free_addresses() -> tuple[int, str]:
    """What a stack needs: a port for its callers, and an address for its parts."""
    return free_port(), own_address()
