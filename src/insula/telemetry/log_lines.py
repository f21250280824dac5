"""A worker's log line in a readable form: time, level, API, message, fields and workload, with the traceback below.

A row is a list of pieces of text, each with a style of rich. A terminal shows the styles, a pipe does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias, cast

Piece: TypeAlias = tuple[str, str]
Row: TypeAlias = list[Piece]

CHARACTERS_MAX: Final = 2000
"""Most characters in a row; the rest is cut. The worker's log has the whole line."""
_TRACEBACKS: Final = ("traceback", "exc_info")
_KNOWN: Final = {"asctime", "levelname", "message", "process", "labels", "id", "traceId", *_TRACEBACKS}
_STYLES: Final = {"DEBUG": "dim", "INFO": "green", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_LEVEL_CHARACTERS: Final = 7


class LogForm(StrEnum):
    """The form in which log lines of workers are printed."""

    PLAIN = "plain"
    JSON = "json"


@dataclass(frozen=True)
class LogLine:
    """The parts of a log line. Missing parts are empty.

    `time` is the worker's HH:MM:SS, `workload` is an id.
    """

    message: str
    api: str = ""
    time: str = ""
    level: str = ""
    workload: str = ""
    fields: Mapping[str, object] = field(default_factory=dict[str, object])
    traceback: str = ""


def parse(line: str, api: str = "") -> LogLine:
    """Parse a line. If it is not a JSON object with a message, the message is the line.

    `api` is the API of a line that names none.
    """
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return LogLine(line, api)
    if not isinstance(found, dict) or "message" not in found:
        return LogLine(line, api)
    fields = cast("dict[str, object]", found)
    labels = fields.get("labels")
    named = cast("dict[str, object]", labels).get("apiName") if isinstance(labels, dict) else None
    return LogLine(
        str(fields["message"]),
        str(named or api),
        str(fields.get("asctime", "")).partition(" ")[2].partition(",")[0],
        str(fields.get("levelname", "")),
        str(fields.get("id", "")),
        {name: value for name, value in fields.items() if name not in _KNOWN},
        "\n".join(str(fields[name]) for name in _TRACEBACKS if fields.get(name)),
    )


def rows(line: LogLine) -> list[Row]:
    """Return the rows of a log line: the first row, then one for each further line of message, fields and traceback."""
    first, *below = line.message.splitlines() or [""]
    head: Row = [
        *_column(line.time, "dim"),
        *_column(f"{line.level:{_LEVEL_CHARACTERS}}" if line.level else "", _STYLES.get(line.level, "")),
        *_column(line.api, "cyan"),
        (first, ""),
    ]
    for name, value in line.fields.items():
        first, *more = _value(value).splitlines() or [""]
        head.append((f" {name}={first}", "dim"))
        below += more
    if line.workload:
        head.append((f" {line.workload}", "dim"))
    below += line.traceback.splitlines()
    return [_cut(head), *(_cut([(f"  {text}", "")]) for text in below)]


def plain(row: Sequence[Piece]) -> str:
    """Return the text of the row, without its styles."""
    return "".join(text for text, _ in row)


def _column(text: str, style: str) -> Row:
    return [(text, style), (" ", "")] if text else []


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(row: Row) -> Row:
    left, kept = CHARACTERS_MAX, Row()
    for text, style in row:
        if left <= 0:
            break
        kept.append((text[:left], style))
        left -= len(text)
    return kept
