"""The metrics client: what reaches the supervisor, and what is refused at once."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from insula_runner.channel import Channel
from insula_runner.frames import FrameBuffer
from insula_runner.metrics import MetricsClient


@pytest.fixture
def sockets() -> Iterator[tuple[MetricsClient, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours:
        yield MetricsClient(Channel(theirs.detach())), ours


def test_each_kind_is_sent_with_its_tags(sockets: tuple[MetricsClient, socket.socket]) -> None:
    client, supervisor = sockets
    client.gauge("depth", 2, tags={"model": "a", "size": 3})
    client.increment("seen")
    client.histogram("latency_s", 0.25)
    headers = [frame.header for frame in FrameBuffer().feed(supervisor.recv(4096))]
    assert headers == [
        {"type": "metric", "kind": "gauge", "name": "depth", "value": 2.0, "tags": {"model": "a", "size": "3"}},
        {"type": "metric", "kind": "increment", "name": "seen", "value": 1.0, "tags": {}},
        {"type": "metric", "kind": "histogram", "name": "latency_s", "value": 0.25, "tags": {}},
    ]


@pytest.mark.parametrize(
    ("kind", "name", "value", "tags", "text"),
    [
        ("gauge", "cortex_depth", 1, 0, "names starting with cortex_ and istio_ are reserved"),
        ("increment", "istio_x", 1, 0, "names starting with cortex_ and istio_ are reserved"),
        ("histogram", "", 1, 0, "1 to 200 characters"),
        ("gauge", "depth", 1, 33, "at most 32 tags"),
        ("increment", "seen", -1, 0, "cannot be incremented by -1"),
        ("increment", "seen", math.nan, 0, "cannot be incremented by nan"),
    ],
)
def test_a_metric_that_could_never_be_stored_is_refused(
    sockets: tuple[MetricsClient, socket.socket], kind: str, name: str, value: float, tags: int, text: str
) -> None:
    client = sockets[0]
    push = {"gauge": client.gauge, "increment": client.increment, "histogram": client.histogram}[kind]
    with pytest.raises(ValueError, match=text):
        push(name, value, {str(tag): tag for tag in range(tags)})


def test_a_supervisor_that_is_gone_is_not_the_handlers_error(sockets: tuple[MetricsClient, socket.socket]) -> None:
    client, supervisor = sockets
    supervisor.close()
    client.gauge("depth", 1)
