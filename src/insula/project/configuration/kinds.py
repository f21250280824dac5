"""The kinds of values that keys of cortex.yaml can have. The module `spec` defines the kind and bounds of each key."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from insula.project.configuration.tree import Invalid, Json, Node, plain, quote, read_below
from insula.project.configuration.units import (
    DURATION,
    QUANTITY,
    TEXT_CHARACTERS_MAX,
    Quantity,
    format_duration,
    parse_duration,
    parse_quantity,
)

Schema = dict[str, Json]
INTEGER_MAX: Final = 2**31 - 1
CHARACTERS_MAX: Final = 4096
ENVIRONMENT_NAME: Final = r"[-._a-zA-Z][-._a-zA-Z0-9]*"
RESERVED_PREFIXES: Final = ("CORTEX_", "INSULA_")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Kind(Generic[_T_co]):
    """The kind of a key's value. `read` never gets a null value, because null means that the key is left out.

    `read` returns a node's value. It raises Invalid with the given value and the rule. `schema` is JSON Schema; it
    accepts every value that `read` accepts. `words` describes the allowed values in docs/cortex-yaml.md.
    """

    read: Callable[[Node], _T_co]
    schema: Schema
    words: str


def wrong_type(node: Node, expected: str) -> Invalid:
    """Return the error for a value that is not of the type `expected`."""
    return Invalid(f"invalid type (got {quote(node)}, must be {expected})")


def _text_of(node: Node) -> str:
    if not isinstance(node.value, str):
        raise wrong_type(node, "a string")
    if not node.value:
        raise Invalid("cannot be empty")
    return node.value


def text(pattern: str = "", rule: str = "", characters_max: int = CHARACTERS_MAX) -> Kind[str]:
    """Return the kind of a string that matches `pattern`. `rule` describes the pattern in an error."""

    def read(node: Node) -> str:
        value = _text_of(node)
        if len(value) > characters_max:
            raise Invalid(f"must be at most {characters_max} characters long (got {len(value)})")
        if "\0" in value:
            raise Invalid("must not contain a null character")
        if pattern and not re.fullmatch(pattern, value):
            raise Invalid(f"{rule} (got {quote(node)})")
        return value

    schema: Schema = {"type": "string", "minLength": 1, "maxLength": characters_max}
    if not pattern:
        return Kind(read, schema, "text")
    limit = f", at most {characters_max} characters" if characters_max < CHARACTERS_MAX else ""
    return Kind(read, {**schema, "pattern": f"^(?:{pattern})$"}, f"text matching `{pattern}`{limit}")


def choice(*choices: str) -> Kind[str]:
    """Return the kind of a value that must be one of these strings."""
    *most, last = [f'"{each}"' for each in choices]
    alternatives = f"{', '.join(most)}{',' if len(most) > 1 else ''} or {last}" if most else last

    def read(node: Node) -> str:
        if (value := _text_of(node)) not in choices:
            raise Invalid(f"invalid value (got {quote(node)}, must be {alternatives})")
        return value

    return Kind(read, {"enum": [*choices]}, " or ".join(f"`{each}`" for each in choices))


def _read_path(node: Node) -> str:
    path = posixpath.normpath(_text_of(node))
    if "\0" in path or posixpath.isabs(path) or path.split("/")[0] == "..":
        raise Invalid(f"must be a path inside the project directory, relative to it (got {quote(node)})")
    return path


# Normalised: `./a/../b.py` is `b.py`. The schema refuses absolute paths and a leading `..`; only `_read_path` refuses
# paths that leave the project further on.
PATH: Final = Kind(
    _read_path,
    {"type": "string", "minLength": 1, "pattern": r"^(?!/)(?!\.\.(/|$))"},
    "path below the project directory",
)


def integer(minimum: int = 0, maximum: int = INTEGER_MAX) -> Kind[int]:
    """Return the kind of a whole number from `minimum` to `maximum`, both included."""

    def read(node: Node) -> int:
        if not isinstance(node.value, int) or isinstance(node.value, bool):
            raise wrong_type(node, "an integer")
        if node.value < minimum:
            raise Invalid(f"must be greater than or equal to {minimum} (got {quote(node)})")
        if node.value > maximum:
            raise Invalid(f"must be less than or equal to {maximum} (got {quote(node)})")
        return node.value

    limit = f"to {maximum}" if maximum < INTEGER_MAX else "or more"
    schema: Schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Kind(read, schema, f"whole number, {minimum} {limit}")


def number(minimum: float = -math.inf, above: float = -math.inf, below: float = math.inf) -> Kind[float]:
    """Return the kind of a finite number. `minimum` is included in the range; `above` and `below` are not."""

    def read(node: Node) -> float:
        if not isinstance(node.value, int | float) or isinstance(node.value, bool):
            raise wrong_type(node, "a number")
        if abs(node.value) > INTEGER_MAX or not math.isfinite(node.value):
            raise Invalid(f"must be a finite number (got {quote(node)})")
        if node.value < minimum:
            raise Invalid(f"must be greater than or equal to {minimum:g} (got {quote(node)})")
        if node.value <= above:
            raise Invalid(f"must be greater than {above:g} (got {quote(node)})")
        if node.value >= below:
            raise Invalid(f"must be less than {below:g} (got {quote(node)})")
        return float(node.value)

    bounds = [
        ("minimum", "at least", minimum),
        ("exclusiveMinimum", "above", above),
        ("exclusiveMaximum", "below", below),
    ]
    bounds = [each for each in bounds if math.isfinite(each[2])]
    schema: Schema = {"type": "number", **{name: bound for name, _, bound in bounds}}
    return Kind(read, schema, ", ".join(["number", *(f"{word} {bound:g}" for _, word, bound in bounds)]))


def _matching(pattern: str, characters_max: int = TEXT_CHARACTERS_MAX) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", "maxLength": characters_max}


def duration(minimum: timedelta = timedelta(0), multiple_of: timedelta | None = None) -> Kind[timedelta]:
    """Return the kind of a duration such as `60s` or `1h30m`."""

    def read(node: Node) -> timedelta:
        try:
            value = parse_duration(_text_of(node))
        except ValueError:
            raise Invalid(f'must be a duration such as "60s", "5m" or "1h30m" (got {quote(node)})') from None
        if value < minimum:
            raise Invalid(f"must be greater than or equal to {format_duration(minimum)} (got {node.value})")
        if multiple_of and value % multiple_of:
            raise Invalid(f"must be a multiple of {format_duration(multiple_of)} (got {node.value})")
        return value

    least = f", at least {format_duration(minimum)}" if minimum else ""
    step = f", a multiple of {format_duration(multiple_of)}" if multiple_of else ""
    return Kind(read, _matching(DURATION.pattern), f"duration such as `90s` or `1h30m`{least}{step}")


def amount(minimum: str = "", words: str = "quantity") -> Kind[Quantity]:
    """Return the kind of a quantity of Kubernetes, such as `200m`, `20Mi` or a number without a unit.

    A value below `minimum` is refused. `words` describes the allowed values in docs/cortex-yaml.md.
    """

    def read(node: Node) -> Quantity:
        numeric = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        try:
            quantity = parse_quantity(str(node.value) if numeric else _text_of(node))
        except ValueError:
            raise Invalid(f'must be a quantity such as "200m", "1.5", "20Mi" or "1G" (got {quote(node)})') from None
        if minimum and quantity.amount < Quantity(minimum).amount:
            raise Invalid(f"must be greater than or equal to {minimum} (got {quantity})")
        return quantity

    schema: Schema = {"anyOf": [{"type": "number", "minimum": 0}, _matching(QUANTITY.pattern)]}
    return Kind(read, schema, words + (minimum and f", at least {minimum}"))


def _read_share(node: Node) -> str:
    numeric = isinstance(node.value, int) and not isinstance(node.value, bool)
    match = re.fullmatch(r"([0-9]{1,9})(%?)", str(node.value) if numeric else _text_of(node), re.ASCII)
    if match is None or (match[2] and int(match[1]) > 100):
        raise Invalid(f'must be a number of replicas such as 5, or a percentage such as "25%" (got {quote(node)})')
    return f"{int(match[1])}{match[2]}"


# A number of replicas (`5`) or a percentage of them (`25%`), kept as text.
SHARE: Final = Kind(
    _read_share,
    {"anyOf": [{"type": "integer", "minimum": 0}, _matching("[0-9]{1,9}%?", characters_max=10)]},
    "number of replicas, or a percentage such as `25%`",
)


def items(read: Callable[[Node], _T]) -> Callable[[Node], tuple[_T, ...]]:
    """Return a function that reads a list. It reads each item with `read`."""

    def read_items(node: Node) -> tuple[_T, ...]:
        if not isinstance(node.value, list):
            raise wrong_type(node, "a list")
        return tuple(read_below(index, read, item) for index, item in enumerate(node.value))

    return read_items


TEXTS: Final = Kind(items(_text_of), {"type": "array", "items": {"type": "string", "minLength": 1}}, "list of texts")


def environment_problem(name: str, value: str) -> str | None:
    """Return the end of an error text if a handler may not have this environment variable; None if it may."""
    if not re.fullmatch(ENVIRONMENT_NAME, name):
        return "must be the name of an environment variable: letters, digits and _, not starting with a digit"
    if name.startswith(RESERVED_PREFIXES):
        return f"names starting with {' or '.join(RESERVED_PREFIXES)} are reserved; choose another"
    return "must not contain a null character" if "\0" in value else None


def _read_environment(node: Node) -> Mapping[str, str]:
    if not isinstance(node.value, dict):
        raise wrong_type(node, "a map")
    for name, member in node.value.items():
        problem = environment_problem(name, member.text)
        if isinstance(member.value, dict | list):
            problem = str(wrong_type(member, "a string"))
        if problem:
            raise Invalid(problem, (name,))
    # Sorted, so that a change of the order makes no new version.
    return {name: member.text for name, member in sorted(node.value.items())}


# A number or a boolean becomes the text in the file, null the empty text.
ENVIRONMENT: Final = Kind(
    _read_environment,
    {
        "type": "object",
        "propertyNames": {"pattern": f"^(?!{'|'.join(RESERVED_PREFIXES)}){ENVIRONMENT_NAME}$"},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
    f"map of scalars; no name starts with {' or '.join(RESERVED_PREFIXES)}",
)


def _read_config(node: Node) -> Mapping[str, Json]:
    value = plain(node)
    if not isinstance(value, dict):
        raise wrong_type(node, "a map")
    return value


CONFIG: Final = Kind(_read_config, {"type": "object"}, "map of anything JSON can hold")
