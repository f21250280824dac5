"""Generates hostile requests from a seed. Most parts of a request are valid, and one or two are wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from insula.v1.results_service_pb2 import GetWorkloadRequest
from insula.v1.submit_service_pb2 import SubmitWorkloadRequest
from tests.contract.edge import raw

METHODS: Final = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "get", "P0ST", "", "GET\t", "PRI", "*")
TARGETS: Final = (
    "/echo", "/", "/echo/", "/echo/1", "/echo/01890a5d-ac96-774b-bcce-b302099a8057", "*", "", "echo", "//", "/%00",
    "/%ff", "/%", "/echo?%65ndpoint=x", "/echo?payload.data=x&id=1", "/echo?" + "a=b&" * 400, "/" + "a" * 9000,
    "/" + "a/" * 300, "/echo#x", "/~/echo", "/%7e/echo", "/echo/../..", "/..%2f..%2f", "/echo%2f1", "/echo:cancel",
    "/\x7f", "/\u00e9", "/a b", "http://x/echo", "http://", "/insula.v1.SubmitService/SubmitWorkload",
    "/insula.v1.ApiService/ListApis", "/grpc.health.v1.Health/Check", "/healthz", "/metrics", "/{endpoint}", "/${x}",
    "/echo;a=b", "/echo\\1", "/echo?\u00ff", "/echo?%", "/%25%32%35",
)  # fmt: skip
VALUES: Final = (
    "", "0", "-1", "x", "x" * 300, "x" * 70000, "\xff\xfe", "\x01", "a\tb", "\x7f", "trailers", "chunked", "identity",
    "gzip", "application/json", "application/grpc", "application/grpc+proto", "application/grpcx",
    "application/grpc-web", "application/grpc-web-text", "application/grpc;x", "-1S", "1S", "99999999H", "1",
    "18446744073709551616", "1e9", " ", "bytes=0-1", "*", "null", "%00", "100-continue", "websocket", "h2c",
    "keep-alive, te", "=?utf-8?b?eA==?=", "\u00e9", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "root",
    "..", '"', "a,b;c", "\r\n x", "\n",
)  # fmt: skip
NAMES: Final = (
    "Content-Type", "Content-Length", "Transfer-Encoding", "TE", "Host", "Connection", "Upgrade", "Expect", "Trailer",
    "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-previous-rpc-attempts", "grpc-status",
    "grpc-message", "grpc-status-details-bin", "grpc-tags-bin", "grpc-trace-bin", "grpc-internal-encoding-request",
    "x-bin", "Idempotency-Key", "traceparent", "tracestate", "x-request-id", "x-envoy-original-path",
    "x-envoy-original-method", "x-client-id", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-forwarded-for",
    "x-forwarded-proto", "x-forwarded-host", "Origin", "Access-Control-Request-Method", "Accept-Encoding",
    "Content-Encoding", "Range", "If-None-Match", "Cookie", "User-Agent", "authorization", "x-http-method-override",
    "x-grpc-web", "lb-token", "endpoint-load-metrics-bin", "host", ":path", "", "a b", "x(y)", "x!#$%&'*+^`|~", "X_Y",
    "x" * 300, "\xff", "date", "server", "via", "forwarded", "max-forwards",
)  # fmt: skip
BODIES: Final = (
    b"", b"{}", b"x", b"\0\0\0\0\0", b"\xff" * 100, b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"GET / HTTP/1.1\r\n\r\n",
    bytes(5000),
)  # fmt: skip
GRPC_METHODS: Final = (
    b"/insula.v1.SubmitService/SubmitWorkload",
    b"/insula.v1.SubmitService/UploadWorkload", b"/insula.v1.ResultsService/GetWorkload",
    b"/insula.v1.ResultsService/DownloadWorkload", b"/insula.v1.ResultsService/WatchWorkload",
    b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"/insula.v1.SubmitService/Nothing",
    b"/insula.v1.SubmitService/", b"/insula.v1.ApiService/ListApis", b"/insula.v1.WorkerService/DescribeWorker",
    b"/grpc.health.v1.Health/Check", b"/", b"", b"/insula.v1.SubmitService/SubmitWorkload?api=echo",
    b"/insula.v1.SubmitService/../ResultsService/GetWorkload", b"/%ff", b"x",
)  # fmt: skip
MESSAGES: Final = (
    SubmitWorkloadRequest(api="nothing", content_type="text/plain", payload=b"x").SerializeToString(),
    SubmitWorkloadRequest(api="echo", payload=b"x").SerializeToString(),
    SubmitWorkloadRequest(api="x" * 5000, content_type="y" * 5000).SerializeToString(),
    GetWorkloadRequest(api="echo", id="1").SerializeToString(),
    GetWorkloadRequest(api="nothing", id="\0").SerializeToString(), b"", b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f",
    b"\x0a\x02\xff\xfe", b"\x00", b"\x0b" * 200, b"\x1a\x04\x08\xff\xff\xff",
    b"\x1a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x1a\x09\x08\x01\x10\xff\xff\xff\xff\xff\x01",
    b"\x3a\x00", b"\x22\x00", b"\x22\x01x", b"\x1a\x05a.txt", b"\x2a\x04\x0a\x00\x10\x00",
    b"\x2a\x16\x0a\x12insula.v1.Workload\x10\x01", b"\x32\x12insula.v1.Workload", b"\x1a\x01\x00",
    b"\x22\x0fapi_service_pb2", b"\x22\x14insula.v1.ApiService",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """The bytes to send on one connection. `streams` are the HTTP/2 streams that may be answered; HTTP/1.1 has none."""

    data: bytes
    streams: Sequence[int] = ()

    @property
    def head(self) -> bool:
        """Whether the bytes may be a HEAD request. The answer to HEAD has no body."""
        return self.data.startswith(b"HEAD") or b":method\x04HEAD" in self.data


def requests(seed: int, count: int) -> list[Hostile]:
    """Return `count` requests. The same seed gives the same requests."""
    dice = random.Random(seed)
    makers: Sequence[Callable[[random.Random], Hostile]] = (_http1, _http1, _http2, _grpc, _grpc, _frames)
    return [dice.choice(makers)(dice) for _ in range(count)]


def _headers(dice: random.Random, most: int = 4) -> list[tuple[str, str]]:
    return [(dice.choice(NAMES), dice.choice(VALUES)) for _ in range(dice.randint(0, most))]


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _http1(dice: random.Random) -> Hostile:
    body, usual = dice.choice(BODIES), dice.random() < 0.7
    method = dice.choice(("GET", "POST")) if usual else dice.choice(METHODS)
    version = (
        "HTTP/1.1"
        if dice.random() < 0.9
        else dice.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "http/1.1", "HTTP/1.1 x"))
    )
    headers = [("Host", dice.choice(("localhost", "api-echo:8888", "api-", "", "a" * 300, "[::1", "x:99999", "a@b")))]
    if dice.random() < 0.6:
        headers.append(("Content-Type", dice.choice(("text/plain", "application/json", dice.choice(VALUES)))))
    if dice.random() < 0.8:
        headers.append(("Content-Length", str(len(body))))
    headers += _headers(dice)
    if dice.random() < 0.05:
        headers += [(f"x-{number}", "y" * 500) for number in range(dice.choice((99, 101, 300)))]
    end = "\r\n" if dice.random() < 0.95 else dice.choice(("\n", "\r", "\r\n\0"))
    lines = [
        f"{method} {dice.choice(TARGETS)} {version}",
        *(f"{name}: {value}" for name, value in headers),
        "Connection: close",
    ]
    request = _bytes(end.join([*lines, "", ""])) + body
    return Hostile(_damaged(dice, request))


def _damaged(dice: random.Random, data: bytes) -> bytes:
    """Return the bytes. In one of eight cases they are cut, or one byte is changed."""
    if not data or dice.random() < 0.875:
        return data
    place = dice.randrange(len(data))
    return dice.choice((data[:place], data[:place] + bytes([dice.randrange(256)]) + data[place + 1 :]))


def _http2(dice: random.Random) -> Hostile:
    method = dice.choice(("GET", "POST")) if dice.random() < 0.7 else dice.choice(METHODS)
    headers = [
        (":method", method),
        (":scheme", dice.choice(("http", "https", "x", ""))),
        (":path", dice.choice(TARGETS)),
    ]
    headers.append((":authority", dice.choice(("localhost", "api-echo:8888", "", "a@b"))))
    if dice.random() < 0.2:
        headers.insert(
            dice.randrange(5),
            dice.choice(((":status", "200"), (":path", "/x"), (":protocol", "websocket"), (":x", ""))),
        )
    if dice.random() < 0.6:
        headers.append(("content-type", dice.choice(("text/plain", dice.choice(VALUES)))))
    pairs = [(_bytes(name.lower()), _bytes(value)) for name, value in headers + _headers(dice)]
    return _stream(dice, pairs, dice.choice(BODIES))


def _grpc(dice: random.Random) -> Hostile:
    more = [(_bytes(name.lower()), _bytes(value)) for name, value in _headers(dice, 2)] if dice.random() < 0.5 else []
    headers = raw.grpc_headers(dice.choice(GRPC_METHODS), *more, te=dice.random() < 0.9)
    message = _damaged(dice, dice.choice(MESSAGES))
    framed = raw.message_frame(message)
    if dice.random() < 0.4:
        length = dice.choice((0, 1, len(message) + 1, 5 << 20, (1 << 31) - 1, (1 << 32) - 1))
        framed = raw.message_frame(message, flag=dice.choice((0, 0, 1, 2, 128, 255)), length=length)
    return _stream(dice, headers, dice.choice((b"", framed, framed[:3], framed, framed + framed)))


def _stream(dice: random.Random, headers: raw.Headers, body: bytes) -> Hostile:
    """Return a stream that ends in one of several ways: by its headers, its data or its trailers."""
    block, trailers = raw.block(headers), raw.block([(b"x", b"y"), (b"grpc-status", b"0")])
    way = dice.random()
    if way < 0.15:
        return Hostile(raw.frame(raw.HEADERS, raw.END_HEADERS | raw.END_STREAM, 1, block), (1,))
    data = raw.frame(raw.HEADERS, raw.END_HEADERS, 1, block)
    if way < 0.25:
        data += raw.frame(raw.DATA, 0, 1, body) + raw.frame(raw.HEADERS, raw.END_HEADERS | raw.END_STREAM, 1, trailers)
    elif way < 0.35:
        data += b"".join(raw.frame(raw.DATA, 0, 1, bytes([byte])) for byte in body[:50]) + raw.frame(
            raw.DATA, raw.END_STREAM, 1
        )
    else:
        data += raw.frame(raw.DATA, raw.END_STREAM, 1, body)
    return Hostile(data, (1,))


def _frames(dice: random.Random) -> Hostile:
    """Return random frames, then a valid call. The call may stay unanswered, because of the frames."""
    data = b""
    for _ in range(dice.randint(1, 6)):
        payload = dice.choice((b"", bytes(4), bytes(8), dice.randbytes(dice.randint(0, 40)), raw.block([(b"a", b"b")])))
        data += raw.frame(
            dice.randrange(12), dice.randrange(256), dice.choice((0, 1, 3, 2, 1 << 30, (1 << 32) - 1)), payload
        )
    call = raw.frame(raw.HEADERS, raw.END_HEADERS, 5, raw.block(raw.grpc_headers(GRPC_METHODS[2])))
    return Hostile(
        _damaged(dice, data) + call + raw.frame(raw.DATA, raw.END_STREAM, 5, raw.message_frame(MESSAGES[3])), (5,)
    )
