"""One line of a worker's log, as bytes of JSON: what user code printed, what its logger wrote, what the worker says.

Owns the shape: {"asctime", "levelname", "message", "process", "labels"} and, while a workload runs, "id" and "traceId".
Pure; where lines come from and go to is others'.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Final, NamedTuple, cast

LINE_BYTES_MAX: Final = 5_000_000
"""A longer line is dropped, as the handler's documentation says."""
LONG_LINE_BYTES: Final = 64 * 1024
"""A longer line is not held as JSON, which may take six times its bytes, but made piece by piece."""
_LOGGER_START: Final = b'{"asctime": "'


Blocks = Sequence[bytes | bytearray]
"""A line as it was read: at least one block, together its bytes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The workload during which a line was printed."""

    id: str
    trace_id: str

    @property
    def fields(self) -> dict[str, str]:
        """What the line says of it."""
        return {"id": self.id, "traceId": self.trace_id} if self.trace_id else {"id": self.id}


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line kept as it was printed, between the JSON around it; `escape` tells whether it has to become a string."""

    before: bytes
    raw: Blocks
    after: bytes
    escape: bool
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """The line with its newline, bit by bit."""
        yield self.before
        yield from _escaped(self.raw) if self.escape else map(bytes, self.raw)
        yield self.after + b"\n"


class Line(NamedTuple):
    """A finished line, without its newline. Where there is a `long` one, `json` is only its beginning."""

    workload: str
    json: bytes
    long: LongLine | None = None


class OutputFormat:
    """Turns what one stream of one runner brings into lines. `level` is that of whatever is not the logger's."""

    def __init__(self, labels: Mapping[str, str], level: str, process: int) -> None:
        self._middle = f'"levelname": "{level}", "message": '
        self._labels = json.dumps(dict(labels))
        self._end = f', "process": {process}, "labels": {self._labels}'
        self._time = ""
        self._origin: Origin | None = None
        self._fields = ""
        self.set_time(time.time())
        self.set_origin(None)

    def set_time(self, now: float) -> None:
        """What lines say from now on; seconds since 1970."""
        self._time = asctime(now)
        self._before = f'{{"asctime": "{self._time}", {self._middle}'

    def set_origin(self, origin: Origin | None) -> None:
        """Whose the lines are from now on."""
        self._origin = origin
        self._fields = "" if origin is None else ", " + json.dumps(origin.fields)[1:-1]
        self._after = f"{self._end}{self._fields}}}"

    def line(self, raw: Blocks) -> Line | None:
        """The line for one that was printed; None if it goes past LINE_BYTES_MAX."""
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
        """The logger's line with what it does not know; None if it only looks like one."""
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
        # Spliced, not encoded anew: numbers stay as the handler wrote them.
        return raw.rstrip()[:-1] + b", " + json.dumps(missing)[1:].encode("ascii")

    def _long_line(self, raw: Blocks, workload: str) -> Line | None:
        raw_bytes = sum(map(len, raw))
        if raw[0].startswith(_LOGGER_START) and raw[-1].endswith(b"}"):
            # Believed: to parse 5 MB of JSON can take 20 times its size. A key that both have is the handler's.
            fields = f"{{{self._fields[2:]}, ".encode() if self._fields else b"{"
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
    """What a line of the worker's own begins with; `seconds` is its time, since 1970."""
    line: dict[str, object] = {"asctime": asctime(seconds), "levelname": level, "message": message}
    return {**line, "process": os.getpid(), "labels": dict(labels)}


def record_fields(labels: Mapping[str, str]) -> Callable[[logging.LogRecord], dict[str, object]]:
    """Return what makes these fields of the worker's own log records."""
    return lambda record: line_fields(record.created, record.levelname, record.getMessage(), labels)


def asctime(seconds: float) -> str:
    """Local time as Python's logging writes it: "2021-01-19 15:14:05,291"."""
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))},{int((seconds - whole) * 1000):03d}"


def _escaped(raw: Blocks) -> Iterator[bytes]:
    """The text of `raw` as the inside of a JSON string, in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in raw:
        yield encode_basestring_ascii(decoder.decode(block))[1:-1].encode("ascii")
    yield encode_basestring_ascii(decoder.decode(b"", final=True))[1:-1].encode("ascii")


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
