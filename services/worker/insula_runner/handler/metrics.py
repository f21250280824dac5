"""The `metrics_client` argument of a handler: checks each value and sends it to the supervisor.

It never waits for a metrics backend, and the handler never gets an error because a backend is unavailable.
"""

from __future__ import annotations

import math
import re
from typing import Any, Dict, Mapping, Optional, Set, cast

from cortex_internal.lib.log import logger
from insula_runner.channel import Channel

RESERVED_PREFIXES = ("cortex_", "istio_")
NOT_IN_NAMES = re.compile("[^a-zA-Z0-9_]")  # Prometheus gets "_" for each
COMPLAINTS_MAX = 100
NAME_CHARACTERS_MAX = 200
TAGS_MAX = 32
TAG_CHARACTERS_MAX = 200


class MetricsClient:
    """Pushes custom metrics.

    An invalid name raises ValueError, because the code is wrong. Invalid values and tags come from data: they are
    dropped and logged, once for each metric, and do not fail the workload.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._complaints: Set[str] = set()

    def gauge(self, metric: str, value: float, tags: Optional[Mapping[str, Any]] = None) -> None:
        """Set a gauge to `value`."""
        self._push("gauge", metric, value, tags)

    def increment(self, metric: str, value: float = 1, tags: Optional[Mapping[str, Any]] = None) -> None:
        """Add `value`, which is not negative, to a counter."""
        self._push("increment", metric, value, tags)

    def histogram(self, metric: str, value: float, tags: Optional[Mapping[str, Any]] = None) -> None:
        """Record one observation."""
        self._push("histogram", metric, value, tags)

    def _push(self, kind: str, metric: str, value: Any, tags: object) -> None:
        check_name(metric)
        if self._channel.closed:
            self._complain(metric, "a forked process has no way to push it; return it to handle_async, which has")
            return
        try:
            checked = {"value": checked_value(kind, value), "tags": checked_tags(tags)}
        except Exception as error:  # noqa: BLE001 - __float__ and __str__ are user code
            self._complain(metric, error)
            return
        try:
            self._channel.send({"type": "metric", "kind": kind, "name": metric, **checked})
        except OSError:
            # The supervisor has ended. The job loop gets the same error at its next frame, and stops.
            return

    def _complain(self, metric: str, error: object) -> None:
        if metric not in self._complaints and len(self._complaints) < COMPLAINTS_MAX:
            self._complaints.add(metric)
            fields = {"metric": metric, "error": str(error)}
            logger.error("a metric was dropped (logged once for each metric)", extra=fields)


def check_name(metric: object) -> None:
    """Raise ValueError if the metric's name is invalid."""
    if not isinstance(metric, str):
        raise ValueError(f"a metric's name must be a string, got {type(metric)}")  # noqa: TRY004 - one error for all
    if not 0 < len(metric) <= NAME_CHARACTERS_MAX:
        raise ValueError(f"a metric's name must have 1 to {NAME_CHARACTERS_MAX} characters, got {len(metric)}")
    if NOT_IN_NAMES.sub("_", metric).startswith(RESERVED_PREFIXES):
        prefixes = " and ".join(RESERVED_PREFIXES)
        raise ValueError(f"metric {metric!r}: names starting with {prefixes} are reserved, choose another")


def checked_value(kind: str, value: Any) -> float:
    """Return the value as a float. Raises ValueError if it is not finite, or negative for an increment.

    If float() raises an exception, that exception is raised.
    """
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    if kind == "increment" and number < 0:
        raise ValueError(f"a counter cannot be incremented by {value!r}")
    return number


def checked_tags(tags: object) -> Dict[str, str]:
    """Return the tags as strings, each cut to TAG_CHARACTERS_MAX. Raises ValueError for no dictionary or too many tags.

    If str() of a key or value raises, that exception is raised.
    """
    if tags is None:
        return {}
    if not isinstance(tags, dict):
        raise ValueError(f"tags must be a dictionary, got {type(tags)}")  # noqa: TRY004 - one error for all
    given = cast("Dict[str, Any]", tags)
    if len(given) > TAGS_MAX:
        raise ValueError(f"at most {TAGS_MAX} tags are supported, got {len(given)}")
    return {str(key)[:TAG_CHARACTERS_MAX]: str(value)[:TAG_CHARACTERS_MAX] for key, value in given.items()}
