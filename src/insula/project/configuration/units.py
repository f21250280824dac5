"""Durations and quantities in the notation of cortex.yaml: `1h30m`, `200m`, `20Mi`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Final

# A year: longer than any period of an autoscaler, and short enough that no arithmetic overflows.
DURATION_MAX: Final = timedelta(days=365)
# Longer numbers are mistakes, and exact arithmetic on them would be slow.
TEXT_CHARACTERS_MAX: Final = 32

_MICROSECONDS: Final = MappingProxyType({"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000})
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
DURATION: Final = re.compile(rf"(?:{_DURATION_PART.pattern})+")
QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m|[kKMGTPE]i?|[eE][0-9]{1,2})?")
_POWERS: Final = "KMGTPE"


def parse_duration(text: str) -> timedelta:
    """Parse a duration in Go's notation: `60s`, `5m`, `1h30m`, `1.5s`, `250ms`.

    Raises ValueError for any other text, and for more than DURATION_MAX.
    """
    if len(text) > TEXT_CHARACTERS_MAX or not DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration")
    parts = _DURATION_PART.findall(text)
    microseconds = sum(Decimal(number) * _MICROSECONDS[unit] for number, unit in parts)
    if microseconds > DURATION_MAX // timedelta(microseconds=1):
        raise ValueError(f"{text!r} is longer than {DURATION_MAX.days} days")
    return timedelta(microseconds=int(microseconds))


def format_duration(duration: timedelta) -> str:
    """Return the canonical text of `duration`: in whole seconds if possible, else in milliseconds. `1m` gives `60s`."""
    if duration % timedelta(seconds=1):
        return f"{Decimal(duration // timedelta(microseconds=1)) / 1000:f}ms"
    return f"{duration // timedelta(seconds=1)}s"


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount in Kubernetes' notation; `text` is the text in the file. Make it with `parse_quantity`."""

    text: str

    @property
    def amount(self) -> Decimal:
        """The exact amount, in CPU cores or bytes of memory."""
        match = QUANTITY.fullmatch(self.text)
        if match is None:
            raise ValueError(f"{self.text!r} is not a quantity")
        number, suffix = Decimal(match[1]), match[2] or ""
        if suffix == "m":
            return number / 1000
        # "E" is exa, "E3" is an exponent.
        if suffix and suffix[0] in "eE" and suffix[1:].isdigit():
            return number.scaleb(int(suffix[1:]))
        if suffix:
            power = _POWERS.index(suffix[0].upper()) + 1
            return number * Decimal(1024 if suffix.endswith("i") else 1000) ** power
        return number

    @property
    def bytes(self) -> int:
        """The amount in whole bytes, rounded up."""
        return int(self.amount.to_integral_value(rounding=ROUND_CEILING))

    def __str__(self) -> str:
        return self.text


def parse_quantity(text: str) -> Quantity:
    """Parse a quantity: `200m`, `1.5`, `20Mi`, `1G`, `1e3`. Raises ValueError for any other text."""
    if len(text) > TEXT_CHARACTERS_MAX or not QUANTITY.fullmatch(text):
        raise ValueError(f"{text!r} is not a quantity")
    return Quantity(text)
