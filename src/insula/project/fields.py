"""The kinds of single value a key of cortex.yaml can have. `insula.project.keys` says which key has which kind.

Each kind holds its rules as plain attributes, reads a node into a Python value, and raises Invalid with a
text that says what was got and what must be.
"""

from __future__ import annotations

import math
import posixpath
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from insula.project.tree import Invalid, Node, quote
from insula.project.units import Quantity, format_duration, parse_duration, parse_quantity

INTEGER_MAX: Final = 2**31 - 1


class Field(Protocol):
    """What a key holds. A null value is the same as leaving the key out."""

    @property
    def required(self) -> bool:
        """Whether leaving the key out is an error."""
        ...

    def absent(self) -> object:
        """Return the value of a key that was left out."""
        ...

    def read(self, node: Node) -> object:
        """Return the value of `node`, which is not null. Raises Invalid."""
        ...


def wrong_type(node: Node, expected: str) -> Invalid:
    """Return the refusal of a value that is not of the kind `expected`."""
    return Invalid(f"invalid type (got {quote(node)}, must be {expected})")


def text_of(node: Node) -> str:
    """Return the text of `node`. Raises Invalid if it is no text, or empty."""
    if not isinstance(node.value, str):
        raise wrong_type(node, "a string")
    if not node.value:
        raise Invalid("cannot be empty")
    return node.value


@dataclass(frozen=True, slots=True)
class Text:
    """A string: one of `choices`, or matching `pattern`, which `rule` puts in words."""

    default: str | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    pattern: str = ""
    rule: str = ""
    characters_max: int = 4096

    def absent(self) -> str | None:
        return self.default

    def read(self, node: Node) -> str:
        text = text_of(node)
        if self.choices and text not in self.choices:
            raise Invalid(f"invalid value (got {quote(node)}, must be {_alternatives(self.choices)})")
        if len(text) > self.characters_max:
            raise Invalid(f"must be at most {self.characters_max} characters long (got {len(text)})")
        if "\0" in text:
            raise Invalid("must not contain a null character")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise Invalid(f"{self.rule} (got {quote(node)})")
        return text


def _alternatives(choices: tuple[str, ...]) -> str:
    *most, last = [f'"{choice}"' for choice in choices]
    return f"{', '.join(most)}{',' if len(most) > 1 else ''} or {last}" if most else last


@dataclass(frozen=True, slots=True)
class RelativePath:
    """A path below the project directory, with `/`; normalised, so `./a/../b.py` is `b.py`."""

    default: str | None = None
    required: bool = False

    def absent(self) -> str | None:
        return self.default

    def read(self, node: Node) -> str:
        path = posixpath.normpath(text_of(node))
        if "\0" in path or posixpath.isabs(path) or path.split("/")[0] == "..":
            raise Invalid(f"must be a path inside the project directory, relative to it (got {quote(node)})")
        return path


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number between two bounds, both allowed."""

    default: int | None = None
    minimum: int = 0
    maximum: int = INTEGER_MAX
    required: bool = False

    def absent(self) -> int | None:
        return self.default

    def read(self, node: Node) -> int:
        if not isinstance(node.value, int) or isinstance(node.value, bool):
            raise wrong_type(node, "an integer")
        if node.value < self.minimum:
            raise Invalid(f"must be greater than or equal to {self.minimum} (got {quote(node)})")
        if node.value > self.maximum:
            raise Invalid(f"must be less than or equal to {self.maximum} (got {quote(node)})")
        return node.value


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number; `above` and `below` are bounds it may not reach, `minimum` one it may."""

    default: float
    minimum: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    required: bool = False

    def absent(self) -> float:
        return self.default

    def read(self, node: Node) -> float:
        if not isinstance(node.value, int | float) or isinstance(node.value, bool):
            raise wrong_type(node, "a number")
        if abs(node.value) > INTEGER_MAX or not math.isfinite(node.value):
            raise Invalid(f"must be a finite number (got {quote(node)})")
        if node.value < self.minimum:
            raise Invalid(f"must be greater than or equal to {self.minimum:g} (got {quote(node)})")
        if node.value <= self.above:
            raise Invalid(f"must be greater than {self.above:g} (got {quote(node)})")
        if node.value >= self.below:
            raise Invalid(f"must be less than {self.below:g} (got {quote(node)})")
        return float(node.value)


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration such as `60s` or `1h30m`."""

    default: timedelta
    minimum: timedelta = timedelta(0)
    multiple_of: timedelta | None = None
    required: bool = False

    def absent(self) -> timedelta:
        return self.default

    def read(self, node: Node) -> timedelta:
        try:
            duration = parse_duration(text_of(node))
        except ValueError:
            raise Invalid(f'must be a duration such as "60s", "5m" or "1h30m" (got {quote(node)})') from None
        if duration < self.minimum:
            raise Invalid(f"must be greater than or equal to {format_duration(self.minimum)} (got {node.value})")
        if self.multiple_of and duration % self.multiple_of:
            raise Invalid(f"must be a multiple of {format_duration(self.multiple_of)} (got {node.value})")
        return duration


@dataclass(frozen=True, slots=True)
class Amount:
    """A Kubernetes quantity such as `200m` or `20Mi`; a bare number is allowed."""

    default: Quantity | None = None
    minimum: Quantity = field(default_factory=lambda: Quantity("0"))
    required: bool = False

    def absent(self) -> Quantity | None:
        return self.default

    def read(self, node: Node) -> Quantity:
        numeric = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        try:
            quantity = parse_quantity(str(node.value) if numeric else text_of(node))
        except ValueError:
            raise Invalid(f'must be a quantity such as "200m", "1.5", "20Mi" or "1G" (got {quote(node)})') from None
        if quantity.amount < self.minimum.amount:
            raise Invalid(f"must be greater than or equal to {self.minimum} (got {quantity})")
        return quantity


@dataclass(frozen=True, slots=True)
class Share:
    """A count of replicas, `5`, or a share of them, `25%`; kept as text."""

    default: str
    required: bool = False

    def absent(self) -> str:
        return self.default

    def read(self, node: Node) -> str:
        numeric = isinstance(node.value, int) and not isinstance(node.value, bool)
        text = str(node.value) if numeric else text_of(node)
        match = re.fullmatch(r"([0-9]{1,9})(%?)", text, re.ASCII)
        if match is None or (match[2] and int(match[1]) > 100):
            raise Invalid(f'must be a number of replicas such as 5, or a percentage such as "25%" (got {quote(node)})')
        return f"{int(match[1])}{match[2]}"
