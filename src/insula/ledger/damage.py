"""Logs a damaged record: one at which a script fails, for example because its key has the wrong type in Redis."""

from __future__ import annotations

import logging

from insula.keys import ApiKeys

log = logging.getLogger(__name__)


def log_damage(api: str, id: str, error: str) -> None:
    """Log that the record of a workload is damaged. `error` is what Redis reported."""
    log.error(
        "workload record damaged: repair its key in Redis, or delete the key to drop the workload",
        extra={"id": id, "key": ApiKeys(api).workload(id), "error": error},
    )
