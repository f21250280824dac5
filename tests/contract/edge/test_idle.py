"""The edge closes a connection that never sends a byte, also during attacks."""

from __future__ import annotations

import socket


def test_an_idle_connection_is_closed_after_a_minute(idle: list[socket.socket]) -> None:
    for connection in idle:
        connection.settimeout(90)
        assert connection.recv(1) == b""
