"""`from cortex_internal.lib.log import logger`: a handler's structured logger.

Each record is one line of JSON on stdout: asctime, levelname, message, process, labels, and beside them the keys of
`extra`. Logging never fails a workload: what JSON cannot say is written as its str(), a line over 5 MB is dropped, and
a reserved key in `extra` is left out and named in an error line. (The documentation asks users to refrain from these
keys; the logger it was written for let them overwrite, or raised, in the middle of a workload.)
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any, Dict, List, Mapping, Optional, cast

LINE_BYTES_MAX = 5_000_000
RESERVED_KEYS = ("asctime", "levelname", "message", "labels", "process")


class ExtraLogger(logging.Logger):
    """Keeps `extra` apart from the record: the standard logger refuses keys such as "name" or "args" in it."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Ask each time: the answer is cached by loggers that logging knows of, which this one is not."""
        return level > self.manager.disable and level >= self.getEffectiveLevel()

    def getChild(self, suffix: str) -> "ExtraLogger":  # noqa: N802 - logging's name
        """Return a logger that writes as this one does."""
        child = ExtraLogger(f"{self.name}.{suffix}")
        child.parent = self
        return child

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802 - logging's name
        """Take `extra` (the ninth argument) off the call and hang it on the record whole.

        A dictionary in place of the message (the fifth) is extra, too, but for its "message".
        """
        positional = list(args)
        extra: Optional[Mapping[str, Any]] = kwargs.pop("extra", None)
        if len(positional) > 8:
            extra, positional[8] = positional[8], None
        fields: Dict[Any, Any] = {}
        if isinstance(positional[4], dict):
            fields = dict(cast("Dict[object, Any]", positional[4]))
            positional[4] = fields.pop("message", "")
        record = super().makeRecord(*positional, **kwargs)
        record.extra = {**fields, **(extra or {})}
        return record


class LineFormatter(logging.Formatter):
    """Turns a record into its JSON line, without the reserved keys of `extra`."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._labels = dict(labels)
        self.names: Dict[Optional[int], int] = {}

    def format(self, record: logging.LogRecord) -> str:
        line: Dict[str, Any] = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "process": self.names.get(record.process, record.process),
            "labels": self._labels,
        }
        extra: Dict[Any, Any] = getattr(record, "extra", {})
        line.update((key, value) for key, value in extra.items() if key not in RESERVED_KEYS)
        if record.exc_info and record.exc_info[0] is not None:
            line.setdefault("exc_info", self.formatException(record.exc_info))
        if record.stack_info:
            line.setdefault("stack_info", self.formatStack(record.stack_info))
        return encode_line(line)


def encode_line(line: Dict[Any, Any]) -> str:
    """Return the line as strict JSON, turning into text what has no JSON form."""
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # Keys that are no strings, NaN, or a value that contains itself: such a value as text, which always works.
        return json.dumps({str(key): sayable(value) for key, value in line.items()}, default=str)


def sayable(value: Any) -> Any:
    """Return the value if JSON has a form for it, or its text."""
    try:
        json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


class StdoutHandler(logging.Handler):
    """Writes each line at once: to `descriptor`, or without one to whatever sys.stdout is at the moment."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor: Optional[int] = None
        self.dropped_lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if len(line) > LINE_BYTES_MAX:  # ASCII: characters are bytes
                line = self._count_dropped(record, len(line))
            if line:
                self._write(line + "\n")
            reserved = [key for key in RESERVED_KEYS if key in getattr(record, "extra", ())]
            if reserved:
                self._write(self._refuse(record, reserved) + "\n")
        except Exception:  # noqa: BLE001 - logging's rule: a logger reports its own failure on stderr and raises nothing
            self.handleError(record)

    def _write(self, line: str) -> None:
        if self.descriptor is None:
            sys.stdout.write(line)
            sys.stdout.flush()
            return
        rest = memoryview(line.encode("ascii"))
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def _refuse(self, record: logging.LogRecord, keys: List[str]) -> str:
        names = ", ".join(f'"{key}"' for key in keys)
        text = (
            f"extra keys {names} are reserved and were left out of the line logged at "
            f"{record.filename}:{record.lineno}; choose other names"
        )
        return self.format(
            logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, text, (), None)
        )

    def _count_dropped(self, record: logging.LogRecord, line_bytes: int) -> str:
        """Count the line; return what to write in its place the first time, nothing after that."""
        self.dropped_lines += 1
        if self.dropped_lines > 1:
            return ""
        text = (
            f"a log line of {line_bytes} bytes was dropped, the limit is {LINE_BYTES_MAX}; later ones are only counted"
        )
        notice = logging.LogRecord(record.name, logging.WARNING, record.pathname, record.lineno, text, (), None)
        return self.format(notice)


def make_logger(environment: Mapping[str, str]) -> logging.Logger:
    """Return the logger for this process; level and labels are what the worker put into the environment."""
    labels = {
        "apiName": environment.get("CORTEX_API_NAME", ""),
        "apiKind": environment.get("CORTEX_API_KIND", "AsyncAPI"),
    }
    made = ExtraLogger("cortex")
    handler = StdoutHandler()
    handler.setFormatter(LineFormatter(labels))
    made.addHandler(handler)
    level = environment.get("CORTEX_LOG_LEVEL", "info").upper()
    made.setLevel(level if level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL") else "INFO")
    return made


logger = make_logger(os.environ)


def write_to(descriptor: Optional[int]) -> None:
    """Let the logger write to this descriptor, whatever becomes of sys.stdout; None: to sys.stdout again."""
    for handler in logger.handlers:
        if isinstance(handler, StdoutHandler):
            handler.descriptor = descriptor


def known_as(process: int) -> None:
    """Let the lines of this process say `process`: its id on the machine, where it has a process namespace."""
    for handler in logger.handlers:
        if isinstance(handler.formatter, LineFormatter):
            handler.formatter.names[os.getpid()] = process
