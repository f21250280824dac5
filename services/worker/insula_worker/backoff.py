"""The backoff before a retry."""

from __future__ import annotations

PAUSE_S_MAX = 30.0


def pause_s(failures: int, *, first_s: float = 1.0, max_s: float = PAUSE_S_MAX) -> float:
    """Return the seconds to wait after this many failures: 0 for none, then `first_s`, doubled up to `max_s`."""
    return min(max_s, first_s * 2.0 ** min(failures - 1, 32)) if failures > 0 else 0.0
