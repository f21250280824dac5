"""The sections of cortex.yaml: maps with known keys. Each section is read into a dataclass.

A field of the dataclass defines a key: `name: Annotated[type, kind, meaning] = default`. A key without a default is
required.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast, get_args

from insula.project.configuration.kinds import Kind, Schema, items, wrong_type
from insula.project.configuration.tree import Invalid, Json, Node, read_below
from insula.project.configuration.units import Quantity, format_duration

NO_EFFECT: Final = "No effect on one machine."
"""The last sentence of a key's meaning if `insula up` accepts the key but does not use it."""
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section: its kind, its meaning and its default, which is MISSING if the key is required."""

    kind: Kind[object]
    meaning: str
    default: object

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def written_default(self) -> Json:
        """The default in the notation of cortex.yaml; None if there is none, or if it is a section."""
        match self.default:
            case timedelta() as duration:
                minutes, rest = divmod(duration, timedelta(minutes=1))
                return format_duration(duration) if rest else f"{minutes}m"
            case Quantity() as quantity:
                return quantity.text
            case int() | float() | str() as scalar:
                return None if scalar == "" else scalar
            case _:
                return None

    @property
    def schema(self) -> Schema:
        """Return the JSON Schema of the key. It allows null unless the key is required."""
        schema = self.kind.schema if self.required else _or_null(self.kind.schema)
        default = self.written_default
        return {**schema, "description": self.meaning, **({} if default is None else {"default": default})}


def _or_null(schema: Schema) -> Schema:
    match schema:
        case {"enum": list() as choices}:
            return {**schema, "enum": [*choices, None]}
        case {"type": str() as only}:
            return {**schema, "type": [only, "null"]}
        case _:
            return {"anyOf": [schema, {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Section(Kind[_T_co]):
    """The kind of a key whose value is a section or a list of sections. `keys` are the keys of the section."""

    keys: Mapping[str, Key]

    def all_keys(self, prefix: str = "") -> Iterator[tuple[str, Key]]:
        """Yield each key with its dotted path, followed by the keys below it."""
        for name, key in self.keys.items():
            yield f"{prefix}{name}", key
            if isinstance(key.kind, Section):
                yield from key.kind.all_keys(f"{prefix}{name}.")


def section(model: type[_T], elsewhere: Mapping[str, str] = _NONE, empty: Collection[str] = ()) -> Section[_T]:
    """Return the kind of a map whose keys are the fields of the dataclass `model`.

    The keys in `empty` may only have the value null. `elsewhere` has keys of other versions of Cortex, each with the
    advice for the error.
    """
    keys = {each.name: _key(each) for each in fields(cast("type[Any]", model))}

    def read(node: Node) -> _T:
        if not isinstance(node.value, dict):
            raise wrong_type(node, "a map")
        for name, member in node.value.items():
            if name in empty and member.value is not None:
                raise Invalid(f'key "{name}" is not supported', at=(name,))
            if name not in keys and name not in empty:
                raise Invalid(f'key "{name}" is not supported{_advice(name, keys, elsewhere)}', at=(name,))
        given = {name: member for name, member in node.value.items() if member.value is not None}
        values: dict[str, object] = {}
        for name, key in keys.items():
            if name in given:
                values[name] = read_below(name, key.kind.read, given[name])
            elif key.required:
                raise Invalid("must be defined", (name,))
        return model(**values)

    members: dict[str, Json] = {name: key.schema for name, key in keys.items()}
    members |= {name: {"enum": [None]} for name in sorted(empty)}
    required: list[Json] = [name for name, key in keys.items() if key.required]
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": members}
    return Section(read, {**schema, "required": required} if required else schema, "map", keys)


def sections(of: Section[_T]) -> Section[tuple[_T, ...]]:
    """Return the kind of a list whose items are of the kind `of`."""
    return Section(items(of.read), {"type": "array", "items": of.schema}, "list of maps", of.keys)


def _key(each: Field[Any]) -> Key:
    kind, *notes = get_args(each.type)[1:]
    default = each.default if each.default_factory is MISSING else each.default_factory()
    # Docstrings are None under `python -OO`.
    return Key(kind, " ".join(filter(None, notes)), default)


def _advice(name: str, keys: Mapping[str, Key], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f": {elsewhere[name]}"
    nearest = difflib.get_close_matches(name, keys, n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else f"; supported keys: {', '.join(keys)}"
