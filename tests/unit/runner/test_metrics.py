"""The metrics client of a handler: the frames that it sends to the worker, and the arguments that it refuses."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from insula_runner.channel import Channel
from insula_runner.frames import FrameBuffer
from insula_runner.handler.metrics import MetricsClient


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
    ("name", "text"),
    [
        ("cortex_depth", "names starting with cortex_ and istio_ are reserved"),
        ("istio.x", "names starting with cortex_ and istio_ are reserved"),
        ("", "1 to 200 characters"),
        (7, "must be a string"),
    ],
)
def test_a_wrong_name_is_refused(sockets: tuple[MetricsClient, socket.socket], name: str, text: str) -> None:
    """A name is checked in its form for Prometheus. "istio.x" becomes istio_x, which is reserved."""
    client = sockets[0]
    for push in (client.gauge, client.increment, client.histogram):
        with pytest.raises(ValueError, match=text):
            push(name, 1)


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "tags", "text"),
    [
        (-1, {}, "cannot be incremented by -1"),
        (math.nan, {}, "nan is not a finite number"),
        ("seven", {}, "could not convert string to float"),
        (None, {}, "must be a string or a real number"),
        (10**400, {}, "too large to convert"),
        (1, {str(tag): tag for tag in range(33)}, "at most 32 tags"),
        (1, ["no", "dictionary"], "tags must be a dictionary"),
        (1, {"x": Unspeakable()}, "no text"),
    ],
)
def test_a_wrong_value_is_logged_once_and_never_raised(
    sockets: tuple[MetricsClient, socket.socket], capsys: pytest.CaptureFixture[str], value: Any, tags: Any, text: str
) -> None:
    client, supervisor = sockets
    for _ in range(3):
        client.increment("seen", value, tags)
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["levelname"] == "ERROR"
    assert line["message"] == "a metric was dropped (logged once for each metric)"
    assert line["metric"] == "seen"
    assert text in line["error"]
    supervisor.setblocking(False)
    with pytest.raises(BlockingIOError):
        supervisor.recv(1)


def test_a_forked_process_is_told_once_that_it_cannot_push(
    sockets: tuple[MetricsClient, socket.socket], capfd: pytest.CaptureFixture[str]
) -> None:
    child = os.fork()
    if child == 0:
        sockets[0].gauge("depth", 1)
        sockets[0].gauge("depth", 2)
        os._exit(0)
    os.waitpid(child, 0)
    (line,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (line["message"], line["metric"]) == ("a metric was dropped (logged once for each metric)", "depth")
    assert line["error"].startswith("a forked process")


def test_a_supervisor_that_is_gone_is_not_the_handlers_error(sockets: tuple[MetricsClient, socket.socket]) -> None:
    client, supervisor = sockets
    supervisor.close()
    client.gauge("depth", 1)
