"""Thousands of hostile requests to a whole stack. Each run has the same requests."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.contract.edge import hostile, raw
from tests.stack import Stack

SEED, COUNT = 7, 5_000
CLIENTS = 256
UNANSWERED_S = 1.0
"""The time to wait for an answer. A request that is cut off may get none."""
INSIDE = re.compile(
    r"\blua\b|envoy|upstream|python|traceback|exception|\d+\.\d+\.\d+\.\d+|\.sock\b|0x[0-9a-f]{4}|_pb2|insula_"
    r"|httpbody|(submit|get|upload|download|watch)workload(request|response)|servicer|redis://|transport failure",
    re.IGNORECASE,
)
"""No text for a caller may contain names of our parts, names of classes, or addresses."""
FAULTS_OF_OURS = {"2": "UNKNOWN", "13": "INTERNAL", "14": "UNAVAILABLE"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def faults(request: hostile.Hostile, reply: raw.RawReply) -> Iterator[str]:
    """Yield the faults of an answer."""
    status, body = reply.status, reply.body
    if status >= 500:
        yield f"{status}"
    of_grpc = reply.headers.get("content-type", "").startswith("application/grpc")
    if not of_grpc and [name for name in reply.headers if name.startswith(("grpc-", "x-envoy-"))]:
        yield f"headers {sorted(reply.headers)}"
    if (code := reply.headers.get("grpc-status")) in FAULTS_OF_OURS:
        yield f"{FAULTS_OF_OURS[code]} {reply.headers.get('grpc-message')}"
    message = unquote(reply.headers.get("grpc-message", ""))
    if status >= 400 and not of_grpc and not request.head:
        try:
            error = json.loads(body)
            message = error["message"]
            if set(error) != {"code", "message", "details"} or not isinstance(error["code"], int) or not message:
                yield f"shape {body!r}"
        except (ValueError, KeyError, TypeError):
            yield f"shape {status} {body!r}"
    if INSIDE.search(message):
        yield f"text {message}"


def answers(address: tuple[str, int], request: hostile.Hostile) -> Sequence[raw.RawReply]:
    """Send a request and return its answers. There may be none if it is cut off or not HTTP."""
    if not request.streams:
        return raw.http1(address, request.data, UNANSWERED_S)
    with raw.Http2(address, 15) as connection:
        connection.send(request.data)
        connection.read_until_ended(request.streams)
        return [connection.replies[stream] for stream in request.streams if stream in connection.replies]


def harmless(address: tuple[str, int]) -> list[int]:
    body = b"Content-Type: text/plain\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    host = b"api-echo:8888" if address[1] == 8888 else b"localhost"
    path = b"/" if address[1] == 8888 else b"/echo"
    return [
        reply.status for reply in raw.http1(address, b"POST " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + body)
    ]


async def test_no_hostile_request_causes_a_server_error(stack: Stack) -> None:
    """No answer is a 5xx, or UNKNOWN, INTERNAL or UNAVAILABLE of gRPC.

    All errors have one shape, and none names an internal part. Afterwards both listeners still serve, and no part was
    restarted.
    """
    places = [raw.place(url) for url in (stack.public, stack.internal)]
    parts = {part: stack.processes(part) for part in ("envoy", "submit", "results", "worker")}

    def judge(numbered: tuple[int, hostile.Hostile]) -> list[tuple[str, bytes]]:
        number, request = numbered
        replies = answers(places[number % 2], request)
        counts.update(str(reply.status) for reply in replies)
        return [(fault, request.data[:400]) for reply in replies for fault in faults(request, reply)]

    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        found = [fault for some in clients.map(judge, enumerate(hostile.requests(SEED, COUNT))) for fault in some]
    assert found == []
    assert counts["400"] + counts["404"] + counts["200"] > COUNT / 4, counts
    assert [harmless(place) for place in places] == [[200], [200]]
    assert {part: stack.processes(part) for part in parts} == parts
    assert "Traceback" not in (Path(stack.info["data"]) / "logs" / "envoy.log").read_text()
