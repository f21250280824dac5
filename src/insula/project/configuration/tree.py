"""A parsed configuration with the position of each value in the file, and the error for an invalid value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, cast

Scalar: TypeAlias = bool | int | float | str | None
Json: TypeAlias = "Scalar | list[Json] | dict[str, Json]"
Step: TypeAlias = str | int
_T = TypeVar("_T")

# Limits of a tree. Without them, a few lines of YAML with aliases could fill the memory.
DEPTH_MAX: Final = 64
NODES_MAX: Final = 100_000
# Python refuses to print or parse larger integers in decimal.
INTEGER_BITS_MAX: Final = 8_192
_QUOTED_CHARACTERS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a configuration. `line` and `column` count from 1; both are 0 if the value is not from a file."""

    value: Scalar | list[Node] | dict[str, Node]
    # The text of a scalar in the file. For example, an environment variable keeps `yes`, which YAML reads as true.
    text: str = ""
    line: int = 0
    column: int = 0


class Invalid(Exception):
    """A value breaks a rule. `path` is the path of the value in the API's entry.

    The error text has the line and column of the node at the path `at`, which is `path` by default.
    """

    def __init__(self, problem: str, path: tuple[Step, ...] = (), at: tuple[Step, ...] | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.at = path if at is None else at

    def under(self, step: Step) -> Invalid:
        """Return the same error with `step`, a key or an index, added at the front of `path` and `at`."""
        return Invalid(self.problem, (step, *self.path), (step, *self.at))


def describe(invalid: Invalid, prefix: str, root: Node) -> str:
    """Return the error text: prefix, path, problem and, if known, the position in the file."""
    steps = [f"index {step}" if isinstance(step, int) else step for step in invalid.path]
    sentence = ": ".join(filter(None, [prefix, *steps, invalid.problem]))
    node = locate(root, invalid.at)
    return f"{sentence} (line {node.line}, column {node.column})" if node.line else sentence


def locate(root: Node, path: tuple[Step, ...]) -> Node:
    """Return the node at `path`, or its closest ancestor that exists."""
    node = root
    for step in path:
        match node.value:
            case dict() as members if isinstance(step, str) and step in members:
                node = members[step]
            case list() as items if isinstance(step, int) and step < len(items):
                node = items[step]
            case _:
                break
    return node


def read_below(step: Step, read: Callable[[Node], _T], node: Node) -> _T:
    """Return `read(node)`. If it raises Invalid, add `step`, the key or index of `node`, to the path of the error."""
    try:
        return read(node)
    except Invalid as invalid:
        raise invalid.under(step) from None


def plain(node: Node) -> Json:
    """Return the node's value as JSON, without positions. Raises Invalid for NaN and infinity, which JSON lacks."""
    match node.value:
        case dict() as members:
            return {key: read_below(key, plain, member) for key, member in members.items()}
        case list() as items:
            return [read_below(index, plain, item) for index, item in enumerate(items)]
        case float() as number if not math.isfinite(number):
            raise Invalid(f"must be a finite number (got {node.text or number})")
        case value:
            return value


def quote(node: Node) -> str:
    """Return the value for an error text: strings in quotation marks, numbers as in the file, at most 80 characters."""
    match node.value:
        case dict():
            return "a map"
        case list():
            return "a list"
        case str() as text:
            quoted = json.dumps(text, ensure_ascii=False)
        case None:
            return "null"
        case value:
            quoted = node.text or json.dumps(value)
    return quoted if len(quoted) <= _QUOTED_CHARACTERS_MAX else f"{quoted[:_QUOTED_CHARACTERS_MAX]}…"


def checked_text(text: str) -> str:
    """Return `text`. Raises Invalid if it has a lone surrogate, which cannot be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("must be valid Unicode") from None
    return text


def parse_json(data: bytes) -> Node:
    """Return the tree of a JSON document. Raises Invalid if it is malformed, repeats a key, or is over the limits."""
    try:
        parsed = json.loads(data, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"must be a JSON object: {error}") from None
    return _node_of_json(parsed, 0, iter(range(NODES_MAX)))


class _Pairs(list[tuple[str, object]]):
    """The members of a JSON object, in which a key may still occur twice."""


def _node_of_json(value: object, depth: int, budget: Iterator[int]) -> Node:
    if depth > DEPTH_MAX or next(budget, None) is None:
        raise Invalid(f"must not be nested deeper than {DEPTH_MAX} levels nor hold more than {NODES_MAX} values")
    match value:
        case _Pairs():
            members: dict[str, Node] = {}
            for key, member in value:
                if key in members:
                    raise Invalid(f'key "{key}" is duplicated')
                members[checked_text(key)] = _node_of_json(member, depth + 1, budget)
            return Node(members)
        case list():
            items = cast("list[object]", value)
            return Node([_node_of_json(item, depth + 1, budget) for item in items])
        case str():
            return Node(checked_text(value), text=value)
        case bool() | int() | float():
            return Node(value, text=json.dumps(value))
        case _:
            return Node(None)
