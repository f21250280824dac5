from __future__ import annotations

from pathlib import Path

import pytest

from insula_local.supervision import output
from insula_local.supervision.output import LINE_BYTES_MAX, Lines, Log, Tail


def lines_of(*pieces: bytes) -> list[str]:
    found: list[str] = []
    lines = Lines(found.append)
    for piece in pieces:
        lines.feed(piece)
    lines.end()
    return found


def test_lines_are_whole_for_every_split_of_the_data() -> None:
    assert lines_of(b"one\ntw", b"o\r\n\nth", "r\u00e9e".encode()) == ["one", "two", "", "thrée"]


def test_a_line_that_is_too_long_is_cut_once() -> None:
    """The rest of the line is dropped up to the newline, with limited memory."""
    long = [b"x" * 10_000] * (LINE_BYTES_MAX // 10_000 + 1)
    assert lines_of(b"before\n", *long, b"\nafter\n") == ["before", "x" * LINE_BYTES_MAX, "after"]
    assert lines_of(b"y" * (LINE_BYTES_MAX + 1) + b"\nafter") == ["y" * LINE_BYTES_MAX, "after"]


def test_the_tail_keeps_the_last_lines() -> None:
    tail = Tail()
    for number in range(100):
        tail.add(f"line {number}")
        tail.add("  ")
    assert tail.lines() == [f"line {number}" for number in range(80, 100)]


def test_i10_bounded_a_log_never_takes_more_than_twice_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest output and the previous file are kept."""
    monkeypatch.setattr(output, "LOG_BYTES_MAX", 1000)
    log = Log(tmp_path / "part.log")
    for number in range(100):
        log.write(f"{number:099}\n".encode())
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {"part.log": 1000, "part.log.1": 1000}
    assert (tmp_path / "part.log").read_text().endswith("99\n")


def test_a_log_starts_empty_and_keeps_the_previous_run(tmp_path: Path) -> None:
    for text in (b"first", b"second", b"third"):
        log = Log(tmp_path / "part.log")
        log.write(text)
        log.close()
    assert (tmp_path / "part.log").read_bytes() == b"third"
    assert (tmp_path / "part.log.1").read_bytes() == b"second"


def test_a_log_that_cannot_be_written_loses_only_its_lines(tmp_path: Path) -> None:
    log = Log(tmp_path / "missing" / "part.log")
    log.write(b"lost")
    log.close()
