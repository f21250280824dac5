"""Logging of the services: one JSON object per line on stderr, with the data in fields."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, fields: Callable[[logging.LogRecord], dict[str, object]]) -> None:
        """`fields` returns the first fields of a line. They have precedence over `extra` fields of the same name."""
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return a line with the first fields, then the `extra` fields, then the traceback if there is one."""
        line = self._fields(record)
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def service_fields(service: str) -> Callable[[logging.LogRecord], dict[str, object]]:
    """Return a function that makes the first fields of a service's lines: time, level, service and message."""
    return lambda record: {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "service": service,
        "message": record.getMessage(),
    }


def configure(service: str, level: str) -> None:
    """Log everything at `level` and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service_fields(service)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)
