"""The kinds of key in cortex.yaml that hold further values: lists, maps of anything, sections with known keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from insula.project.fields import Field, text_of, wrong_type
from insula.project.tree import Invalid, Json, Node, plain

ENVIRONMENT_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
RESERVED_PREFIXES: Final = ("CORTEX_", "INSULA_")
_T = TypeVar("_T")


def _each(node: Node, read: Callable[[Node], _T]) -> Iterator[_T]:
    if not isinstance(node.value, list):
        raise wrong_type(node, "a list")
    for index, item in enumerate(node.value):
        try:
            yield read(item)
        except Invalid as invalid:
            raise invalid.under(index) from None


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of strings."""

    required: bool = False

    def absent(self) -> tuple[str, ...]:
        return ()

    def read(self, node: Node) -> tuple[str, ...]:
        return tuple(_each(node, text_of))


@dataclass(frozen=True, slots=True)
class Environment:
    """Environment variables. A number or a boolean is taken as it was written, null as the empty text."""

    required: bool = False

    def absent(self) -> Mapping[str, str]:
        return {}

    def read(self, node: Node) -> Mapping[str, str]:
        if not isinstance(node.value, dict):
            raise wrong_type(node, "a map")
        variables: dict[str, str] = {}
        for name, member in node.value.items():
            problem = environment_problem(name, member.text)
            if isinstance(member.value, dict | list):
                problem = str(wrong_type(member, "a string"))
            if problem:
                raise Invalid(problem, (name,))
            variables[name] = member.text
        return variables


def environment_problem(name: str, value: str) -> str | None:
    """Return what is wrong with an environment variable of a handler, or None."""
    if not ENVIRONMENT_NAME.fullmatch(name):
        return "must be the name of an environment variable: letters, digits and _, not starting with a digit"
    if name.startswith(RESERVED_PREFIXES):
        return f"names starting with {' or '.join(RESERVED_PREFIXES)} are reserved; choose another"
    return "must not contain a null character" if "\0" in value else None


@dataclass(frozen=True, slots=True)
class FreeForm:
    """A map of anything JSON can carry, handed on as it is."""

    required: bool = False

    def absent(self) -> Mapping[str, Json]:
        return {}

    def read(self, node: Node) -> Mapping[str, Json]:
        value = plain(node)
        if not isinstance(value, dict):
            raise wrong_type(node, "a map")
        return value


@dataclass(frozen=True, slots=True)
class Section:
    """A map with known keys. `optional` ones are None when left out, others are filled with the defaults.

    `fixed` keys may be written with their one value, or null, and mean nothing. `elsewhere` are keys of other versions
    of Cortex, each with what to do.
    """

    keys: Mapping[str, Field]
    required: bool = False
    optional: bool = False
    fixed: Mapping[str, Json] = field(default_factory=dict[str, Json])
    elsewhere: Mapping[str, str] = field(default_factory=dict[str, str])

    def absent(self) -> dict[str, object] | None:
        return None if self.optional else self.read(Node({}))

    def read(self, node: Node) -> dict[str, object]:
        if not isinstance(node.value, dict):
            raise wrong_type(node, "a map")
        for key, member in node.value.items():
            if key in self.fixed:
                if plain(member) not in (None, self.fixed[key]) or member.value is True:
                    only = f" but for {self.fixed[key]}" if self.fixed[key] is not None else ""
                    raise Invalid(f'key "{key}" is not supported{only}', at=(key,))
            elif key not in self.keys:
                raise Invalid(f'key "{key}" is not supported{self._suggestion(key)}', at=(key,))
        return {key: self._read_key(key, kind, node.value.get(key)) for key, kind in self.keys.items()}

    def _read_key(self, key: str, kind: Field, member: Node | None) -> object:
        given = member if member is not None and member.value is not None else None
        if given is None and kind.required:
            raise Invalid("must be defined", (key,))
        try:
            return kind.read(given) if given is not None else kind.absent()
        except Invalid as invalid:
            raise invalid.under(key) from None

    def _suggestion(self, key: str) -> str:
        if key in self.elsewhere:
            return f": {self.elsewhere[key]}"
        nearest = difflib.get_close_matches(key, self.keys, n=1)
        return f'; did you mean "{nearest[0]}"?' if nearest else f"; supported keys: {', '.join(self.keys)}"


@dataclass(frozen=True, slots=True)
class Sections:
    """A list of maps with the same known keys."""

    item: Section
    required: bool = False

    def absent(self) -> tuple[dict[str, object], ...]:
        return ()

    def read(self, node: Node) -> tuple[dict[str, object], ...]:
        return tuple(_each(node, self.item.read))
