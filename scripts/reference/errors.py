"""docs/errors.md, from the tree of errors, the table of their codes and the reasons of failures."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Final

from grpc import StatusCode

import insula.reason
from insula import errors
from insula.rpc.statuses import reason, status_code

INTRODUCTION: Final = """\
# Errors

Written by `make reference` from src/insula/errors.py and src/insula/reason.py; do not edit.

Over HTTP an error is JSON: `{"code": <gRPC code>, "message": "...", "details": [...]}`. Over gRPC it is a status with
the same details. One detail is a `google.rpc.ErrorInfo` of the domain `insula`. Its `reason` is one of the words below:
branch on it, not on the message. If the request may succeed later, there is also a `google.rpc.RetryInfo`; over HTTP it
is the header `Retry-After`.

## Refused requests
"""
EDGE: Final = """\
## Refusals of the edge

Envoy refuses these before a service sees them. They have a code and a message; only the first has a reason.

| HTTP | gRPC | when |
|---|---|---|
| 413 | INVALID_ARGUMENT | the body is over the limit; the reason is `PAYLOAD_TOO_LARGE` |
| 404 | NOT_FOUND | nothing is at this path |
| 405 | UNIMPLEMENTED | the method is not GET, HEAD, POST or OPTIONS |
| 411 | INVALID_ARGUMENT | a POST over HTTP/1.0 has no Content-Length |
| 400 | INVALID_ARGUMENT | the request is malformed, or its path or Content-Type is not printable ASCII |
| 429 | RESOURCE_EXHAUSTED | too many connections or requests; wait for `Retry-After` |
| 431 | INVALID_ARGUMENT | the headers are too large |
| 503 | UNAVAILABLE | a service is restarting; repeat the request |
| 408, 504 | DEADLINE_EXCEEDED | the transfer stood still for too long |
| 500 | INTERNAL | a bug; the service's log has the traceback |

## Failed workloads

`GET /{id}` of a failed workload has `error.reason`, one of these words, and `error.message`, a sentence.
"""
HTTP_BY_CODE: Final = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
}
HTTP_BY_REASON: Final = {"PAYLOAD_TOO_LARGE": 413, "ENCODING_UNSUPPORTED": 415}
"""The reasons for which guard.lua sets another HTTP status than Envoy."""
WITHIN: Final = {errors.InsulaError, errors.LeaseLost}
"""Errors that callers never get."""


def raised(kind: type[errors.InsulaError] = errors.InsulaError) -> Iterator[type[errors.InsulaError]]:
    """Yield the classes of insula.errors that callers may get, in the order of the tree."""
    if kind not in WITHIN:
        yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from raised(below)


def page() -> str:
    """Return the text of docs/errors.md."""
    lines = [INTRODUCTION, "| HTTP | gRPC | reason | when, and what to do |", "|---|---|---|---|"]
    for kind in raised():
        code, word = status_code(kind), reason(kind)
        assert code is not None, f"{kind.__name__} has no row in insula.rpc.statuses"
        http = HTTP_BY_REASON.get(word) or HTTP_BY_CODE[code]
        lines.append(f"| {http} | {code.name} | `{word}` | {_first_paragraph(kind)} |")
    lines += ["", EDGE, "| reason | why |", "|---|---|"]
    lines += [f"| `{word}` | {why} |" for word, why in _failures()]
    return "\n".join([*lines, ""])


def _first_paragraph(kind: type) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].split())


def _failures() -> Iterator[tuple[str, str]]:
    """Yield each reason with its comment in the source."""
    source = inspect.getsource(insula.reason)
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield str(node.value.value), lines[node.lineno - 1].partition("# ")[2]
