"""The `metrics_client` a handler may declare: checks each value and hands it to the supervisor.

Nothing here waits for a metrics backend, and a backend that is down is never seen by the handler.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, cast

from insula_runner.channel import Channel

RESERVED_PREFIXES = ("cortex_", "istio_")
NAME_CHARACTERS_MAX = 200
TAGS_MAX = 32
TAG_CHARACTERS_MAX = 200


class MetricsClient:
    """Pushes custom metrics. Every method raises ValueError or TypeError for a metric that could never be stored."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def gauge(self, metric: str, value: float, tags: Optional[Mapping[str, Any]] = None) -> None:
        """Set a gauge to `value`."""
        self._push("gauge", metric, float(value), tags)

    def increment(self, metric: str, value: float = 1, tags: Optional[Mapping[str, Any]] = None) -> None:
        """Add `value`, which is not negative, to a counter."""
        added = float(value)
        if not added >= 0:
            raise ValueError(f"metric {metric!r}: a counter cannot be incremented by {value!r}")
        self._push("increment", metric, added, tags)

    def histogram(self, metric: str, value: float, tags: Optional[Mapping[str, Any]] = None) -> None:
        """Record one observation."""
        self._push("histogram", metric, float(value), tags)

    def _push(self, kind: str, metric: str, value: float, tags: object) -> None:
        check_name(metric)
        header = {"type": "metric", "kind": kind, "name": metric, "value": value, "tags": checked_tags(metric, tags)}
        try:
            self._channel.send(header)
        except OSError:
            # The supervisor is gone; the job loop meets the same end at its next frame and stops there.
            return


def check_name(metric: object) -> None:
    """Raise unless the metric's name can be pushed."""
    if not isinstance(metric, str):
        raise TypeError(f"a metric's name must be a string, got {type(metric)}")
    if not 0 < len(metric) <= NAME_CHARACTERS_MAX:
        raise ValueError(f"a metric's name must have 1 to {NAME_CHARACTERS_MAX} characters, got {len(metric)}")
    if metric.startswith(RESERVED_PREFIXES):
        prefixes = " and ".join(RESERVED_PREFIXES)
        raise ValueError(f"metric {metric!r}: names starting with {prefixes} are reserved, choose another")


def checked_tags(metric: str, tags: object) -> Dict[str, str]:
    """Return the tags as strings, values cut to TAG_CHARACTERS_MAX."""
    if tags is None:
        return {}
    if not isinstance(tags, dict):
        raise TypeError(f"metric {metric!r}: tags must be a dictionary, got {type(tags)}")
    given = cast("Dict[str, Any]", tags)
    if len(given) > TAGS_MAX:
        raise ValueError(f"metric {metric!r}: at most {TAGS_MAX} tags are supported, got {len(given)}")
    return {str(key)[:TAG_CHARACTERS_MAX]: str(value)[:TAG_CHARACTERS_MAX] for key, value in given.items()}
