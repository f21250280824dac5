"""Makes one line of a worker's log, as bytes of JSON.

The input is a line that user code printed, a JSON line of the handler's logger, or a log record of the worker itself.
The output has the keys {"asctime", "levelname", "message", "process", "labels"} and, while a workload runs, "id" and
"traceId". Pure functions: other modules read and write the lines.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final, NamedTuple, cast

LINE_BYTES_MAX: Final = 5_000_000
"""A longer line is dropped."""
LONG_LINE_BYTES: Final = 64 * 1024
"""A longer line is encoded in pieces while it is written. Encoding it at once could take six times its size."""
_LOGGER_START: Final = b'{"asctime": "'


Blocks = Sequence[bytes | bytearray]
"""A line as it was read: one block of bytes or more, to be concatenated."""


class Origin(NamedTuple):
    """The workload that was running when a line was printed."""

    id: str
    trace_id: str

    @property
    def fields(self) -> dict[str, str]:
        """The keys that name the workload in its log lines: `id`, and `traceId` unless it is empty."""
        return {"id": self.id, "traceId": self.trace_id} if self.trace_id else {"id": self.id}


@dataclass(frozen=True, slots=True)
class LongLine:
    """A long line as it was printed, and the JSON text to write before and after it.

    If `escape` is true, `raw` is encoded as a JSON string; otherwise it is JSON already.
    """

    before: bytes
    raw: Blocks
    after: bytes
    escape: bool
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the encoded line with its newline, in pieces."""
        yield self.before
        yield from _escaped(self.raw) if self.escape else map(bytes, self.raw)
        yield self.after + b"\n"


class Line(NamedTuple):
    """One line of the log as JSON, without its newline. `workload` is the id of its workload, or empty.

    If `long` is set, it holds the whole line, and `json` has only the beginning of the text.
    """

    workload: str
    json: bytes
    long: LongLine | None = None


class OutputFormat:
    """Encodes the lines of stdout or stderr of one runner. `level` is for lines not written by the handler's logger."""

    def __init__(self, labels: Mapping[str, str], level: str, process: int) -> None:
        self._middle = f'"levelname": "{level}", "message": '
        self._labels = json.dumps(dict(labels))
        self._end = f', "process": {process}, "labels": {self._labels}'
        self._origin: Origin | None = None
        self._now = time.time()

    def set_time(self, now: float) -> None:
        """Set the time of the following lines, in seconds since 1970."""
        self._now = now

    def set_origin(self, origin: Origin | None) -> None:
        """Set the workload of the following lines, None between workloads."""
        self._origin = origin

    @property
    def _before(self) -> str:
        return f'{{"asctime": "{asctime(self._now)}", {self._middle}'

    @property
    def _after(self) -> str:
        return f"{self._end}{_members_of(self._origin)}}}"

    def line(self, raw: Blocks) -> Line | None:
        """Encode a printed line. Return None if it is a long line whose encoded form exceeds LINE_BYTES_MAX."""
        workload = self._origin.id if self._origin else ""
        if len(raw) > 1 and sum(map(len, raw)) > LONG_LINE_BYTES:
            return self._long_line(raw, workload)
        whole = bytes(raw[0]) if len(raw) == 1 else b"".join(raw)
        made = self._enriched(whole) if whole.startswith(_LOGGER_START) else None
        if made is None:
            text = encode_basestring_ascii(whole.decode("utf-8", "replace"))
            made = f"{self._before}{text}{self._after}".encode("ascii")
        return Line(workload, made)

    def _enriched(self, raw: bytes) -> bytes | None:
        """Add the missing keys to a line of the handler's logger. Return None if the logger did not write the line."""
        try:
            parsed: object = json.loads(raw, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return None
        if not isinstance(parsed, dict):
            return None
        found = cast("dict[str, object]", parsed)
        if not {"levelname", "message"} <= found.keys():
            return None
        ours = {"labels": json.loads(self._labels), **(self._origin.fields if self._origin else {})}
        missing = {name: value for name, value in ours.items() if name not in found}
        if not missing:
            return raw
        # Not parsed and encoded again: numbers must stay as the handler wrote them.
        return raw.rstrip()[:-1] + b", " + json.dumps(missing)[1:].encode("ascii")

    def _long_line(self, raw: Blocks, workload: str) -> Line | None:
        raw_bytes = sum(map(len, raw))
        if raw[0].startswith(_LOGGER_START) and raw[-1].endswith(b"}"):
            # Not parsed: parsing 5 MB of JSON can take 20 times its size in memory. The handler's keys come last, so
            # they override ours.
            fields = f"{{{_members_of(self._origin)[2:]}, ".encode() if self._origin else b"{"
            long = LongLine(fields, [raw[0][1:], *raw[1:]], b"", escape=False, size_bytes=raw_bytes)
        else:
            before, after = f'{self._before}"'.encode("ascii"), f'"{self._after}'.encode("ascii")
            long = LongLine(before, raw, after, escape=True, size_bytes=sum(map(len, _escaped(raw))))
        if long.size_bytes > LINE_BYTES_MAX:
            return None
        head = raw[0].decode("utf-8", "replace")
        text = encode_basestring_ascii(f"{head}... (cut: {raw_bytes} bytes, all of them on the worker's stdout)")
        return Line(workload, f"{self._before}{text}{self._after}".encode("ascii"), long)


def line_fields(seconds: float, level: str, message: str, labels: Mapping[str, str]) -> dict[str, object]:
    """Return the common keys of the worker's own lines. `seconds` is the line's time, in seconds since 1970."""
    line: dict[str, object] = {"asctime": asctime(seconds), "levelname": level, "message": message}
    return {**line, "process": os.getpid(), "labels": dict(labels)}


def record_fields(labels: Mapping[str, str]) -> Callable[[logging.LogRecord], dict[str, object]]:
    """Return a function that converts a log record to the keys of a line: see `line_fields`."""
    return lambda record: line_fields(record.created, record.levelname, record.getMessage(), labels)


@lru_cache(maxsize=8)
def _members_of(origin: Origin | None) -> str:
    """Return the JSON members that name a line's workload, each after a comma. Empty without a workload."""
    return "" if origin is None else ", " + json.dumps(origin.fields)[1:-1]


@lru_cache(maxsize=8)  # all lines of one read have the same time
def asctime(seconds: float) -> str:
    """Format seconds since 1970 as local time, as Python's logging does: "2021-01-19 15:14:05,291"."""
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))},{int((seconds - whole) * 1000):03d}"


def _escaped(raw: Blocks) -> Iterator[bytes]:
    """Yield the text of `raw` in pieces, escaped as the content of a JSON string."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in raw:
        yield encode_basestring_ascii(decoder.decode(block))[1:-1].encode("ascii")
    yield encode_basestring_ascii(decoder.decode(b"", final=True))[1:-1].encode("ascii")


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
