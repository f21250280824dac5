"""`from cortex_internal.lib.log import logger`: a handler's structured logger.

Each record is one line of JSON on stdout: asctime, levelname, message, process, labels, and beside them the keys of
`extra`. Logging never fails a workload. A value that is not JSON is written as its str(). A line over 5 MB is dropped.
A reserved key in `extra` is left out, and an error line names it. (Cortex' documentation asks users not to use these
keys; in Cortex such a key replaced the field, or raised in the middle of a workload.)
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, cast

LINE_BYTES_MAX = 5_000_000
RESERVED_KEYS = ("asctime", "levelname", "message", "labels", "process")


class ExtraLogger(logging.Logger):
    """Keeps `extra` in one attribute of the record. The standard logger refuses keys such as "name" or "args"."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Return whether records of this level are logged.

        Uses no cache, because logging clears the caches only of loggers that it created itself.
        """
        return level > self.manager.disable and level >= self.getEffectiveLevel()

    def getChild(self, suffix: str) -> "ExtraLogger":  # noqa: N802 - logging's name
        """Return a child logger. Its records go to the logging handlers of this one."""
        child = ExtraLogger(f"{self.name}.{suffix}")
        child.parent = self
        return child

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802 - logging's name
        """Keep `extra`, the ninth argument, as one attribute of the record.

        If the message, the fifth argument, is a dictionary, its "message" is the text and its other keys are extra.
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
    """Formats a record as a JSON line, without reserved keys of `extra`."""

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
    """Return the line as strict JSON. A value that is not JSON becomes text."""
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # A key that is not a string, NaN, or a value that contains itself: write that value as text.
        return json.dumps({str(key): sayable(value) for key, value in line.items()}, default=str)


def sayable(value: Any) -> Any:
    """Return the value if json.dumps accepts it, with str() for unknown types. Otherwise return str(value)."""
    try:
        json.dumps(value, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


class StdoutHandler(logging.Handler):
    """Writes each line at once: with `write_line` if it is set, else to the current sys.stdout."""

    def __init__(self) -> None:
        super().__init__()
        self.write_line: Optional[Callable[[bytes], None]] = None
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
        if self.write_line is None:
            sys.stdout.write(line)
            sys.stdout.flush()
        else:
            self.write_line(line.encode("ascii"))

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
        """Count a dropped line. Return the notice to write in place of the first; for later lines, an empty string."""
        self.dropped_lines += 1
        if self.dropped_lines > 1:
            return ""
        text = (
            f"a log line of {line_bytes} bytes was dropped, the limit is {LINE_BYTES_MAX} bytes; "
            "later ones are only counted"
        )
        notice = logging.LogRecord(record.name, logging.WARNING, record.pathname, record.lineno, text, (), None)
        return self.format(notice)


def make_logger(environment: Mapping[str, str]) -> logging.Logger:
    """Return a logger with the level and the labels that the worker has set in the environment."""
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


def write_by(write_line: Optional[Callable[[bytes], None]]) -> None:
    """Make the logger write its lines with this function instead of to sys.stdout. None restores sys.stdout."""
    for handler in logger.handlers:
        if isinstance(handler, StdoutHandler):
            handler.write_line = write_line


def known_as(process: int) -> None:
    """Set the process id in the lines of this process. In a PID namespace, it is the id outside of the namespace."""
    for handler in logger.handlers:
        if isinstance(handler.formatter, LineFormatter):
            handler.formatter.names[os.getpid()] = process
