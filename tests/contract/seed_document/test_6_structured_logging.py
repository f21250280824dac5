"""Cortex' handler document, section "Structured logging". The docstrings quote it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.contract.seed_document.conftest import Document
from tests.waiting import until_blocking

API = "logging"


def log_lines(document: Document, payload: object, *, message: str = "received payload") -> list[dict[str, Any]]:
    """Run the document's sample with `payload`. Return the lines with this message that it logged meanwhile."""
    before = _lines(document, message)
    document.api(API).run(json.dumps(payload).encode(), "application/json")
    until_blocking(lambda: len(_lines(document, message)) > len(before))
    return _lines(document, message)[len(before) :]


def _lines(document: Document, message: str) -> list[dict[str, Any]]:
    return [record for record in document.stack.log_records(API) if record.get("message") == message]


def test_the_logger_logs_in_json(document: Document) -> None:
    """You can use Cortex's logger in your handler implemention to log in JSON. The keys are those of the example."""
    [line] = log_lines(document, "this movie is awesome")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", line["asctime"])
    assert (line["levelname"], line["message"]) == ("INFO", "received payload")
    assert line["payload"] == "this movie is awesome"
    assert line["process"] in document.stack.processes("runner")


def test_the_logger_adds_metadata(document: Document) -> None:
    """Using the logger "will enrich your logs with Cortex's metadata": the key `labels` has it."""
    [line] = log_lines(document, 1)
    assert line["labels"]["apiName"] == API
    assert line["labels"]["apiKind"] == "AsyncAPI"


def test_extra_adds_key_value_pairs(document: Document) -> None:
    """You can add custom metadata to the logs by adding key value pairs to the `extra` key."""
    [line] = log_lines(document, {"model": "iris", "score": 0.5}, message="flattened")
    assert (line["levelname"], line["model"], line["score"]) == ("WARNING", "iris", 0.5)


def test_extra_is_flattened_by_one_level(document: Document) -> None:
    """The dictionary passed in via the `extra` will be flattened by one level."""
    [line] = log_lines(document, {"outer": {"inner": {"deep": 1}}}, message="flattened")
    assert line["outer"] == {"inner": {"deep": 1}}
    assert "extra" not in line
    assert "inner" not in line


def test_reserved_keys_do_not_override_the_metadata(document: Document) -> None:
    """Please refrain from specifying [...] `asctime`, `levelname`, `message`, `labels`, and `process`.

    If `extra` has these keys, the line keeps the logger's values.
    """
    reserved: dict[str, object] = {
        "asctime": "then",
        "levelname": "LOUD",
        "message": "mine",
        "labels": {},
        "process": -1,
    }
    [line] = log_lines(document, reserved, message="flattened")
    assert line["levelname"] == "WARNING"
    assert line["labels"]["apiName"] == API
    assert line["process"] > 0
    assert line["asctime"] != "then"


def test_lines_over_5_mb_are_ignored(document: Document) -> None:
    """Log lines greater than 5 MB in size will be ignored. The handler continues without an error."""
    answer = document.api(API).run(json.dumps("x" * 5_000_000).encode(), "application/json")
    assert answer["error"]["message"].startswith("user response must be json serializable dictionary")
    log_lines(document, "after")  # whatever was printed before it is there by now
    assert max(map(len, document.stack.log(API).splitlines())) < 5_000_000
    assert [line for line in _lines(document, "received payload") if line["payload"] == "x" * 5_000_000] == []
