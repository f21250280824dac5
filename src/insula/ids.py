"""Workload ids: UUIDv7 (RFC 9562, section 5.7), so that sorted ids are in order of submission."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a new id in canonical lower case: 48 bits of Unix milliseconds, 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def made_ms(id: str) -> int:
    """Return the time at which the id was made, in Unix milliseconds. The id contains it."""
    return int(id[:8] + id[9:13], 16)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id. If not, no workload has this id, and Redis need not be read."""
    return _CANONICAL.fullmatch(text) is not None
