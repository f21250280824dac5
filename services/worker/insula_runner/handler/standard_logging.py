"""Writes records of the standard `logging` module as JSON lines, at `handler.log_level`.

It replaces `logging.lastResort`, the handler that logging uses while nothing is configured. So a configuration by the
user's code (basicConfig, dictConfig, a handler) takes precedence, and no line is written twice. A line has the fields
of cortex_internal's logger, and `name`, the name of the record's logger. Other programs that a handler starts are not
changed, because another program may parse their output.
"""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any, FrozenSet

from cortex_internal.lib.log import logger

STANDARD: FrozenSet[str] = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message"}
"""Attributes that logging itself sets in a record. All others come from `extra`."""


class LastResort(logging.Handler):
    """Passes each record to the handler of cortex_internal's logger, which writes the line."""

    def __init__(self, lines: logging.Handler) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        extra = {key: value for key, value in vars(record).items() if key not in STANDARD}
        shown = copy.copy(record)
        shown.extra = {"name": record.name, **extra}
        self._lines.handle(shown)


def write_as_lines() -> None:
    """Make `logging` write its records as lines of JSON. Call it once in a process, before user code is loaded."""
    if not logging.root.handlers:  # otherwise the environment's sitecustomize has configured logging
        logging.root.setLevel(logger.level)
    logging.lastResort = LastResort(logger.handlers[0])
    configure = logging.basicConfig

    @functools.wraps(configure)
    def configure_if_asked(**options: Any) -> None:
        # logging.info() calls this without arguments. It would then write plain text to stderr from now on.
        if options:
            configure(**options)

    logging.basicConfig = configure_if_asked
