"""docs/errors.md, from the tree of errors, the table of their codes and the reasons of failures."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Final

from grpc import StatusCode

import insula.reason
from insula import errors
from insula.reason import Reason
from insula.rpc.statuses import reason, status_code

INTRODUCTION: Final = """\
# Errors

<!-- Written by `make reference` from src/insula/errors.py and src/insula/reason.py; do not edit. -->

There are two kinds of errors. A **refused request** gets an HTTP error or a gRPC status, and makes no workload. A
**failed workload** was accepted, and ended without a result. The [glossary](glossary.md) explains the words of this
page.

Over HTTP an error of a service is this JSON. `code` is the number of the gRPC code.

```json
{
  "code": 5,
  "message": "there is no API at '/greter'; `insula get` lists the deployed ones",
  "details": [
    {
      "@type": "type.googleapis.com/google.rpc.ErrorInfo",
      "reason": "API_NOT_FOUND",
      "domain": "insula",
      "metadata": {"name": "/greter"}
    }
  ]
}
```

Over gRPC it is a status with the same details. Programs should branch on `reason`: the message may change. If the
request may succeed later, the answer has the header `Retry-After` in seconds; over gRPC it is a `google.rpc.RetryInfo`.
The [Python client](python-client.md#failures) raises an exception for each reason. In a [batch](batches.md) each
refused payload has such an error as its answer.

## Refused requests

A submit that is refused with a 4xx stored nothing. After a 5xx other than `STORAGE_FULL`, or without an answer,
it may have been accepted: repeat it with the same `Idempotency-Key`, so that it makes one workload. A read may always
be repeated.
"""
EDGE: Final = """\
## Requests that Envoy refuses

Envoy refuses these requests before a service gets them. All but 413 have `"details": []`, so they have no reason:
branch on the HTTP status. A 503 with a reason is in the table above.

| HTTP | gRPC | when, and what to do |
|---|---|---|
| 413 | INVALID_ARGUMENT | The body is larger than the limit. The reason is `PAYLOAD_TOO_LARGE`. |
| 404 | NOT_FOUND | Nothing is at this path. |
| 405 | UNIMPLEMENTED | The method is not GET, HEAD, POST or OPTIONS. |
| 411 | INVALID_ARGUMENT | A POST over HTTP/1.0 has no Content-Length. |
| 400 | INVALID_ARGUMENT | The request is malformed, or its path or Content-Type is not printable ASCII. |
| 429 | RESOURCE_EXHAUSTED | Your address sends more requests a second than `--requests-per-address`. |
| 431 | INVALID_ARGUMENT | The headers are too large. |
| 503 | UNAVAILABLE | A service is restarting, or 10,000 requests wait for it. Repeat after `Retry-After`. |
| 408, 504 | DEADLINE_EXCEEDED | The transfer stood still for too long. Repeat the request. |
| 500 | INTERNAL | A bug of Insula. The log of the service has the traceback. |

A connection above a [limit](limits.md) is closed without an answer.

## Failed workloads

`GET /{endpoint}/{id}` of a failed workload answers 200. The body has `error.reason`, one of the words below, and
`error.message`, a sentence. A later version may have more reasons.
"""
DO: Final = {
    Reason.HANDLER_ERROR: "Correct the handler or the payload. `insula result` prints the traceback.",
    Reason.MEMORY_LIMIT: "Raise `compute.mem`, or send less.",
    Reason.RESULT_INVALID: "Correct the handler. The message names the value.",
    Reason.RESULT_TOO_LARGE: "Store the result elsewhere, and return where it is.",
    Reason.PAYLOAD_INVALID: "Correct the payload or its Content-Type, and submit again.",
    Reason.PAYLOAD_MISSING: "Submit again.",
    Reason.PAYLOAD_UNREADABLE: "Repair S3, then submit again.",
    Reason.WORKER_LOST: "Read the log of the worker: the handler probably crashes the process. Then submit again.",
}
"""What to do about a failed workload, for each reason."""
HTTP_BY_CODE: Final = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
}
HTTP_BY_REASON: Final = {"PAYLOAD_TOO_LARGE": 413, "ENCODING_UNSUPPORTED": 415}
"""The reasons for which answers.lua, a filter of the edge, sets another HTTP status than that of their gRPC code."""
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
    lines += ["", EDGE, "| reason | why | what to do |", "|---|---|---|"]
    lines += [f"| `{word}` | {why} | {DO[Reason(word)]} |" for word, why in _failures()]
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
