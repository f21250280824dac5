"""Thousands of hostile requests, the same ones each time, against a whole stack."""

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
"""How long is waited for the answer to a request that may never have one, since it is cut off."""
INSIDE = re.compile(
    r"\blua\b|envoy|upstream|python|traceback|exception|\d+\.\d+\.\d+\.\d+|\.sock\b|0x[0-9a-f]{4}|_pb2|insula_"
    r"|httpbody|(submit|get|upload|download|watch)workload(request|response)|servicer|redis://|transport failure",
    re.IGNORECASE,
)
"""What no text for a caller may hold: names of our parts, classes and addresses."""
FAULTS_OF_OURS = {"2": "UNKNOWN", "13": "INTERNAL", "14": "UNAVAILABLE"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def faults(request: hostile.Hostile, reply: raw.RawReply) -> Iterator[str]:
    """What is wrong with an answer."""
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
    """What came back; a request that was cut off or is no HTTP may have no answer at all."""
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


async def test_no_hostile_request_is_our_fault(stack: Stack) -> None:
    """No 5xx, one shape of error, no status of gRPC that blames us, and no text that names what is inside.

    Then both listeners and every part still serve, and none of the parts was started anew.
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
