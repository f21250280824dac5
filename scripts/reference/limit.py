"""A row of docs/limits.md, and how sizes and times are written there."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """One row: what is limited, the limit, what happens above it, and the setting that changes it."""

    what: str
    value: str
    past: str
    change: str = "fixed"


def size(count_bytes: int) -> str:
    """Return a size in the largest unit that divides it: 32 KiB, 5 MB."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (10**6, "MB")):
        if count_bytes % unit == 0:
            return f"{count_bytes // unit} {name}"
    return f"{count_bytes:,} bytes"


def span(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least two: 7 days, 24 h, 60 min, 0.25 s."""
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
