"""A stream of output is cut into lines, whatever its content is and however it is split into reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula_runner.frames import encode_mark
from insula_worker.logs.line import LINE_BYTES_MAX, Blocks, Line, LongLine, Origin, OutputFormat
from insula_worker.runners.output import Cutter

TOKEN = "t0ken"


def cut(pieces: Sequence[bytes]) -> tuple[list[tuple[str, bytes]], list[int]]:
    """Cut the pieces into lines. Return each line with its workload's id, and the sizes of the dropped lines."""
    lines: list[tuple[str, bytes]] = []
    dropped: list[int] = []
    owner = ""

    def mark(origin: Origin | None) -> None:
        nonlocal owner
        owner = origin.id if origin else ""

    def line(blocks: Blocks) -> None:
        lines.append((owner, b"".join(blocks)))

    cutter = Cutter(TOKEN, line=line, origin=mark, dropped=dropped.append)
    for piece in pieces:
        cutter.feed(piece)
    cutter.end()
    return lines, dropped


printed = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b" ").replace(b"\0", b" "))


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(printed), st.binary(max_size=9)), max_size=9), st.data())
def test_lines_belong_to_the_mark_before_them_however_the_stream_is_split(
    jobs: list[tuple[int, list[bytes], bytes]], data: st.DataObject
) -> None:
    stream, expected = b"", list[tuple[str, bytes]]()
    for number, lines, rest in jobs:
        end = rest.replace(b"\n", b"").replace(b"\0", b"")
        owner = str(number) if number else ""
        stream += encode_mark(TOKEN, owner, "") + b"".join(line + b"\n" for line in lines) + end
        expected += [(owner, line) for line in [*lines, *([end] if end else [])]]
    stops = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[start:stop] for start, stop in zip([0, *stops], [*stops, len(stream)], strict=True)]
    assert cut(pieces) == (expected, [])


def test_a_too_long_line_is_dropped_and_the_mark_after_it_applies() -> None:
    pieces = [encode_mark(TOKEN, "1", ""), *[b"x" * 8192] * 2000, encode_mark(TOKEN, "2", ""), b"short\n"]
    lines, dropped = cut(pieces)
    assert lines == [("2", b"short")]
    assert dropped == [8192 * 2000]


def whole(line: Line | None) -> dict[str, Any]:
    assert line is not None
    text = b"".join(line.long.pieces()) if line.long else line.json
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture
def format() -> OutputFormat:
    made = OutputFormat({"apiName": "echo"}, "INFO", 7)
    made.set_origin(Origin("one", "trace"))
    return made


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1))
def test_any_bytes_become_one_line_of_json(blocks: list[bytes]) -> None:
    line = OutputFormat({"apiName": "echo"}, "INFO", 7).line(blocks)
    assert whole(line)["message"] == b"".join(blocks).decode("utf-8", "replace")
    assert line is not None
    assert b"\n" not in line.json


@pytest.mark.parametrize("text", ["plain", 'Grüße \\ " \x07', "\U0001f600"])
def test_a_long_line_is_encoded_in_pieces_without_a_change(format: OutputFormat, text: str) -> None:
    raw = text.encode() * 20_000
    line = format.line([raw[start : start + 8191] for start in range(0, len(raw), 8191)])
    assert line is not None
    assert isinstance(line.long, LongLine)
    found = whole(line)
    assert (found["message"], found["id"], found["traceId"]) == (text * 20_000, "one", "trace")
    assert json.loads(line.json)["message"].startswith(text * 100)
    assert len(line.json) < 60_000


def test_a_line_of_the_logger_stays_verbatim_and_gets_the_missing_fields(format: OutputFormat) -> None:
    raw = b'{"asctime": "now", "levelname": "INFO", "message": "m", "number": 1.500, "big": 123456789012345678901}'
    line = format.line([raw])
    assert line is not None
    ours = b', "labels": {"apiName": "echo"}, "id": "one", "traceId": "trace"}'
    assert line.json == raw[:-1] + ours
    long = raw[:-1] + b', "payload": "' + b"x" * 100_000 + b'"}'
    found = whole(format.line([long[:60_000], long[60_000:]]))
    assert (found["id"], found["message"], len(found["payload"])) == ("one", "m", 100_000)


@pytest.mark.parametrize("raw", [b'{"asctime": "', b'{"asctime": "x"}', b'{"asctime": "x", "levelname": NaN}', b"{}"])
def test_a_line_that_only_looks_like_the_loggers_becomes_text(format: OutputFormat, raw: bytes) -> None:
    assert whole(format.line([raw]))["message"] == raw.decode()


def test_the_size_limit_counts_the_line_as_it_is_written(format: OutputFormat) -> None:
    assert format.line([b"x" * 2_499_999, b"x" * 2_499_999]) is not None
    assert format.line([b'"' * 1_300_000, b'"' * 1_300_000]) is None
    assert LINE_BYTES_MAX == 5_000_000
