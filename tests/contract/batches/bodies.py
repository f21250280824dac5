"""Sends bodies of NDJSON in pieces, and reads the answers while it sends."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.stack import Stack

NDJSON = "application/x-ndjson"
READ_S = 30


def post(stack: Stack, body: bytes, api: str = "echo", **headers: str) -> list[dict[str, Any]]:
    """Submit a body as one batch. Return its answers."""
    named = {"Content-Type": NDJSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    reply = requests.post(f"{stack.public}/{api}:batch", data=body, headers=named, timeout=120)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == NDJSON
    return answers_in(reply.content)


def answers_in(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects in the body of an answer. Check that its last line is whole."""
    assert not body or body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def reasons(answers: list[dict[str, Any]]) -> list[str]:
    """Return the reason of each refused line, and "" for each accepted one."""
    return [answer["details"][0]["reason"] if "code" in answer else "" for answer in answers]


class Sending:
    """A batch whose body is still being sent, over HTTP/1.1 with chunks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def send(self, piece: bytes) -> None:
        """Send one chunk of the body; an empty one is its end."""
        self._connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def ids(self, count: int) -> list[str]:
        """Wait for the first `count` ids of the answer, and return them."""
        while self._received.count(b'"id":"') < count or not self._received.endswith(b"\n"):
            self._received += self._receive()
        return [part[:36].decode() for part in self._received.split(b'{"id":"')[1 : count + 1]]

    def read_answers(self, count: int) -> None:
        """Read `count` refusals from the answer, and drop them."""
        word, received = b'"code":', b""
        while count > 0:
            received = received[1 - len(word) :] + self._receive()  # the word may arrive in two parts
            count -= received.count(word)

    def _receive(self) -> bytes:
        piece = self._connection.recv(1 << 16)
        assert piece, self._received
        return piece


@contextmanager
def sending(url: str, **headers: str) -> Generator[Sending]:
    """Begin a batch. At the end of the block, the connection is closed at once."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    named = {"Host": "x", "Content-Type": NDJSON, "Transfer-Encoding": "chunked"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    with socket.create_connection((parts.hostname, parts.port), timeout=READ_S) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        connection.sendall(f"POST {parts.path} HTTP/1.1\r\n{head}\r\n".encode())
        yield Sending(connection)
