"""The readable form of a worker's log line."""

from __future__ import annotations

import json

import pytest

from insula.telemetry.log_lines import CHARACTERS_MAX, parse, plain, rows

LINE = {
    "asctime": "2026-11-26 15:14:05,291",
    "levelname": "INFO",
    "message": "hello",
    "process": 1,
    "labels": {"apiName": "echo", "apiKind": "AsyncAPI"},
}


def shown(line: object, api: str = "") -> list[str]:
    return [plain(row) for row in rows(parse(line if isinstance(line, str) else json.dumps(line), api))]


def test_time_level_api_and_message_make_a_row() -> None:
    assert shown(LINE) == ["15:14:05 INFO    echo hello"]


def test_fields_and_the_workload_follow_the_message() -> None:
    line = {**LINE, "id": "0192", "traceId": "f" * 32, "seconds": 1.5, "kind": "a b"}
    assert shown(line) == ["15:14:05 INFO    echo hello seconds=1.5 kind=a b 0192"]


@pytest.mark.parametrize("key", ["traceback", "exc_info"])
def test_a_traceback_has_a_row_for_each_line(key: str) -> None:
    line = {**LINE, "levelname": "ERROR", "message": "failed", key: "Traceback:\n  File\nValueError: x"}
    assert shown(line) == ["15:14:05 ERROR   echo failed", "  Traceback:", "    File", "  ValueError: x"]


def test_a_message_of_several_lines_has_a_row_for_each() -> None:
    assert shown({**LINE, "message": "a\nb"}) == ["15:14:05 INFO    echo a", "  b"]


def test_a_field_of_several_lines_has_a_row_for_each() -> None:
    line = {**LINE, "levelname": "WARNING", "reason": "pip failed:\nno such package", "n": 1}
    assert shown(line) == ["15:14:05 WARNING echo hello reason=pip failed: n=1", "  no such package"]


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "[1]", "1", '{"a": 1}', "[" * 100_000])
def test_a_line_that_is_not_a_record_is_a_message(line: str) -> None:
    assert shown(line, "echo") == [f"echo {line}"[:CHARACTERS_MAX]]


def test_fields_of_unexpected_types_are_accepted() -> None:
    assert shown({"message": None, "labels": [], "asctime": 1, "levelname": {}}, "a") == ["{}      a None"]


def test_a_long_row_is_cut() -> None:
    assert [len(row) for row in shown({**LINE, "message": "x" * 10_000})] == [CHARACTERS_MAX]


def test_the_level_has_a_colour() -> None:
    styles = {
        row[0][0].strip(): row[0][1]
        for level in ("INFO", "ERROR")
        for row in rows(parse(json.dumps({"levelname": level, "message": "m"})))
    }
    assert styles == {"INFO": "green", "ERROR": "red"}
