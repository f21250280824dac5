"""The standard `logging` module in a handler's processes: its records become JSON lines at `handler.log_level`.

This stands in for logging's handler of last resort, which writes where nothing is configured. So a handler's own
configuration wins, whatever its form (basicConfig, dictConfig, a handler of its own), and no line is printed twice.
A record has the line of cortex_internal's logger, and beside it `name`, its logger's. Programs that a handler starts
are left alone: somebody may read what they print.
"""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any, FrozenSet

from cortex_internal.lib.log import logger

STANDARD: FrozenSet[str] = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message"}
"""What logging itself keeps in a record; the rest came from `extra`."""


class LastResort(logging.Handler):
    """Hands each record to the handler of cortex_internal's logger, which writes its line."""

    def __init__(self, lines: logging.Handler) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        extra = {key: value for key, value in vars(record).items() if key not in STANDARD}
        shown = copy.copy(record)
        shown.extra = {"name": record.name, **extra}
        self._lines.handle(shown)


def write_as_lines() -> None:
    """Take what the handler logs from now on. Before user code is loaded, once in each process."""
    if not logging.root.handlers:  # otherwise a sitecustomize of the environment has configured it
        logging.root.setLevel(logger.level)
    logging.lastResort = LastResort(logger.handlers[0])
    configure = logging.basicConfig

    @functools.wraps(configure)
    def configure_if_asked(**options: Any) -> None:
        # logging.info() and its like call this without arguments, and would write plain text to stderr ever after.
        if options:
            configure(**options)

    logging.basicConfig = configure_if_asked
