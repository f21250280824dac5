"""The lines of services and of workers: two schemas, one formatter."""

from __future__ import annotations

import json
import logging
import os

import pytest

from insula.telemetry.logs import JsonFormatter, service_fields
from insula_worker.logs.line import asctime, record_fields

CREATED_S = 1700000000.1234
OF_A_SERVICE = '{"time": "2023-11-14T22:13:20.123+00:00", "level": "INFO", "service": "submit", "message": "\\u00e9 b"'
OF_A_WORKER = (
    f'{{"asctime": "{asctime(CREATED_S)}", "levelname": "INFO", "message": "\\u00e9 b", "process": {os.getpid()}, '
    '"labels": {"apiName": "a"}'
)


def record(**extra: object) -> logging.LogRecord:
    made = {"levelname": "INFO", "msg": "é %s", "args": ("b",), "created": CREATED_S, **extra}
    return logging.makeLogRecord(made)


@pytest.mark.parametrize(
    ("formatter", "start"),
    [
        (JsonFormatter(service_fields("submit")), OF_A_SERVICE),
        (JsonFormatter(record_fields({"apiName": "a"})), OF_A_WORKER),
    ],
    ids=["service", "worker"],
)
def test_a_line_has_its_fields_then_the_extra_ones_then_the_traceback(formatter: JsonFormatter, start: str) -> None:
    """Names and order are fixed, because programs read these lines. A value that is not JSON becomes its text."""
    assert formatter.format(record()) == start + "}"
    assert formatter.format(record(id="1", seconds=0.5, message="no", asctime="no", taskName="no")) == (
        start + ', "id": "1", "seconds": 0.5}'
    )
    assert formatter.format(record(of=int)) == start + """, "of": "<class 'int'>"}"""
    told = json.loads(formatter.format(record(id="1", exc_info=(ValueError, ValueError("why"), None))))
    assert list(told)[-2:] == ["id", "traceback"]
    assert told["traceback"] == "ValueError: why"
