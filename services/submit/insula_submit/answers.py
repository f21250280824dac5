"""Encodes the answers to a batch, as lines of NDJSON or as a protobuf message."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from google.protobuf.json_format import MessageToDict

from insula.errors import InsulaError
from insula.rpc.statuses import status_of
from insula.v1.submit_service_pb2 import Refusal, SubmitWorkloadsResponse
from insula_submit.admission import Answer

T = TypeVar("T")


def as_lines(answers: Sequence[Answer]) -> bytes:
    """Return a line for each answer: {"id": …}, or an error as in the JSON body of a refused POST."""
    once = _Once(_line)
    return "".join(f'{{"id":"{answer}"}}\n' if isinstance(answer, str) else once(answer) for answer in answers).encode()


def as_message(answers: Sequence[Answer]) -> SubmitWorkloadsResponse:
    """Return an id for each answer, empty for a refused payload, and a refusal for each refused payload.

    A refusal has the index of the payload and the error.
    """
    once = _Once(status_of)
    return SubmitWorkloadsResponse(
        ids=[answer if isinstance(answer, str) else "" for answer in answers],
        refusals=[
            Refusal(index=index, error=once(answer))
            for index, answer in enumerate(answers)
            if not isinstance(answer, str)
        ],
    )


class _Once(Generic[T]):
    """Renders equal errors only once: if the queue is full, many answers are equal."""

    def __init__(self, render: Callable[[InsulaError], T]) -> None:
        self._render = render
        self._known: dict[str, T] = {}

    def __call__(self, error: InsulaError) -> T:
        if (name := repr(error)) not in self._known:
            self._known[name] = self._render(error)
        return self._known[name]


def _line(error: InsulaError) -> str:
    """Return an error as a line of JSON, in the form in which Envoy writes the errors of other requests."""
    status = status_of(error)
    details = [MessageToDict(detail, always_print_fields_with_no_presence=True) for detail in status.details]
    body = {"code": status.code, "message": status.message, "details": details}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n"
