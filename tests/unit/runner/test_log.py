"""The structured logger of Cortex' handler document."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any

import pytest

from cortex_internal.lib.log import LINE_BYTES_MAX, logger, make_logger


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def log() -> logging.Logger:
    return make_logger({"CORTEX_API_NAME": "iris"})


def test_the_documented_line(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """A line has the keys of Cortex' logger, labels, and the keys of `extra`, flattened by one level."""
    log.info("received payload", extra={"payload": "this movie is awesome", "nested": {"a": 1}})
    (line,) = read_lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", line.pop("asctime"))
    assert line == {
        "levelname": "INFO",
        "message": "received payload",
        "process": os.getpid(),
        "labels": {"apiName": "iris", "apiKind": "AsyncAPI"},
        "payload": "this movie is awesome",
        "nested": {"a": 1},
    }


def test_reserved_keys_are_refused_in_a_line_of_their_own_and_never_raise(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """An ERROR line names the reserved keys. Python's logger would raise KeyError for some, and fail the workload."""
    others = {"name": "n", "args": 6}
    reserved = {"message": 1, "levelname": 2, "asctime": 3, "process": 4, "labels": 5}
    log.info("x", extra={**reserved, **others})
    line, refusal = read_lines(capsys)
    assert (line["message"], line["levelname"], line["process"]) == ("x", "INFO", os.getpid())
    assert (line["labels"]["apiName"], line["name"], line["args"]) == ("iris", "n", 6)
    assert refusal["levelname"] == "ERROR"
    named = '"asctime", "levelname", "message", "labels", "process"'
    assert refusal["message"].startswith(
        f"extra keys {named} are reserved and were left out of the line logged at test_"
    )


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, float("nan"), {("tuple",): 1}, "\ud800", object], ids=repr)
def test_what_json_cannot_say_becomes_text(
    log: logging.Logger, capsys: pytest.CaptureFixture[str], value: object
) -> None:
    """Only the value that JSON cannot hold becomes text. The other values of the line keep their types."""
    log.info("x", extra={"value": value, "step": 3, "shape": [1, 2]})
    (line,) = read_lines(capsys)
    assert isinstance(line["value"], str)
    assert (line["step"], line["shape"]) == (3, [1, 2])
    assert isinstance(line["labels"], dict)


def test_a_dictionary_in_place_of_the_message_is_keys_of_the_line(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """`log.info({...})` puts the dictionary's keys into the line, as python-json-logger in Cortex did."""
    log.info({"event": "predicted", "score": 0.5}, extra={"step": 3})
    log.info({"message": "predicted", 5: "five", "process": 1})
    first, second, refused = read_lines(capsys)
    assert (first["message"], first["event"], first["score"], first["step"]) == ("", "predicted", 0.5, 3)
    assert (second["message"], second["5"], second["process"]) == ("predicted", "five", os.getpid())
    assert '"process"' in refused["message"]


def test_a_child_writes_as_its_parent(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.getChild("part").info("from the child", extra={"name": "mine"})
    log.getChild("part").debug("not shown")
    (line,) = read_lines(capsys)
    assert (line["message"], line["name"]) == ("from the child", "mine")


def test_a_stack_is_shown_when_asked_for(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.info("where", stack_info=True)
    log.info("no exception", exc_info=(None, None, None))
    where, without = read_lines(capsys)
    assert "test_a_stack_is_shown" in where["stack_info"]
    assert "exc_info" not in without


def test_an_exception_brings_its_traceback(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int("boom")
    except ValueError:
        log.exception("failed")
    (line,) = read_lines(capsys)
    assert line["levelname"] == "ERROR"
    assert "ValueError: invalid literal" in line["exc_info"]


@pytest.mark.parametrize(
    ("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1), ("nonsense", 3)]
)
def test_the_level_comes_from_the_environment(level: str, expected: int, capsys: pytest.CaptureFixture[str]) -> None:
    log = make_logger({"CORTEX_LOG_LEVEL": level})
    for write in (log.debug, log.info, log.warning, log.error):
        write("x")
    assert len(read_lines(capsys)) == expected


def test_lines_over_5_mb_are_dropped_counted_and_reported_once(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("fits", extra={"payload": "x" * (LINE_BYTES_MAX - 1000)})
    for _ in range(3):
        log.info("too long", extra={"payload": "x" * LINE_BYTES_MAX})
    fits, notice = read_lines(capsys)
    assert fits["message"] == "fits"
    assert notice["levelname"] == "WARNING"
    assert "was dropped, the limit is 5000000" in notice["message"]
    assert vars(log.handlers[0])["dropped_lines"] == 3


def test_a_closed_stdout_is_not_the_handlers_error(log: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w", encoding="utf-8") as closed:
        pass
    monkeypatch.setattr("sys.stdout", closed)
    log.info("x")


def test_the_module_has_a_logger_ready() -> None:
    assert logger.isEnabledFor(logging.INFO)
