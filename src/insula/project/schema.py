"""The JSON Schema of cortex.yaml, made from the table of keys: what an editor completes from and underlines by.

It accepts whatever `cortex_yaml.load` accepts. The other way round it is as strict as a schema can say; the rules that
tie one key to another are the reader's alone.
"""

from __future__ import annotations

import math
from datetime import timedelta
from functools import singledispatch
from typing import Final

from insula.project.effects import WITHOUT_EFFECT
from insula.project.fields import Amount, Duration, Field, Integer, Number, RelativePath, Share, Text
from insula.project.keys import API
from insula.project.meanings import MEANINGS
from insula.project.sections import (
    ENVIRONMENT_NAME,
    RESERVED_PREFIXES,
    Environment,
    FreeForm,
    Section,
    Sections,
    Texts,
)
from insula.project.tree import Json
from insula.project.units import TEXT_CHARACTERS_MAX, Quantity

_Schema = dict[str, Json]
_DURATION: Final = r"^([0-9]+(\.[0-9]+)?(ms|h|m|s))+$"
_QUANTITY: Final = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|[kKMGTPE]i?|[eE][0-9]{1,2})?$"
SHARE_CHARACTERS_MAX: Final = 10
_SHARE: Final = r"^[0-9]{1,9}%?$"
# Neither absolute nor leading straight out; what leads out by detours, the reader finds.
_RELATIVE: Final = r"^(?!/)(?!\.\.(/|$))"


def config_schema() -> _Schema:
    """Return the schema of a whole configuration file."""
    return {
        "title": "cortex.yaml",
        "description": "The APIs of one project.",
        "type": "array",
        "minItems": 1,
        "items": _schema(API, ""),
    }


def meaning(path: str) -> str:
    """Return what the key at the dotted `path` is for, and whether it has no effect on one machine."""
    return MEANINGS[path] + (" No effect on one machine." if path in WITHOUT_EFFECT else "")


def default_of(field: Field) -> Json:
    """Return what a key means when it is left out, as one writes it; None where that is nothing, or many keys."""
    match None if isinstance(field, Section) else field.absent():
        case timedelta() as duration:
            return duration_text(duration)
        case Quantity() as quantity:
            return quantity.text
        case bool() | int() | float() | str() as scalar:
            return scalar
        case _:
            return None


def duration_text(duration: timedelta) -> str:
    """Return a default or bound as a person writes it: in minutes where they are whole."""
    seconds = duration // timedelta(seconds=1)
    return f"{seconds // 60}m" if seconds and seconds % 60 == 0 else f"{seconds}s"


def _schema(field: Field, path: str) -> _Schema:
    """Return the schema of the key at the dotted `path`, which may be null unless it is required."""
    schema = _value_schema(field, path)
    if not path:
        return schema
    if not field.required:
        schema = _or_null(schema)
    schema["description"] = meaning(path)
    default = default_of(field)
    if default is not None:
        schema["default"] = default
    return schema


def _or_null(schema: _Schema) -> _Schema:
    match schema:
        case {"enum": list() as choices}:
            return {**schema, "enum": [*choices, None]}
        case {"type": str() as only}:
            return {**schema, "type": [only, "null"]}
        case _:
            return {"anyOf": [schema, {"type": "null"}]}


def _value_schema(field: Field, path: str) -> _Schema:
    match field:
        case Section():
            return _section(field, path)
        case Sections():
            return {"type": "array", "items": _section(field.item, path)}
        case _:
            return _leaf(field)


@singledispatch
def _leaf(field: Field) -> _Schema:
    """Return the schema of a key that holds no sections; a kind without one is a gap in this module."""
    raise NotImplementedError(f"no schema for {field}")


@_leaf.register(Text)
def _text(kind: Text) -> _Schema:
    if kind.choices:
        return {"enum": [*kind.choices]}
    schema: _Schema = {"type": "string", "minLength": 1, "maxLength": kind.characters_max}
    if kind.pattern:
        schema["pattern"] = f"^(?:{kind.pattern})$"
    return schema


@_leaf.register(RelativePath)
def _relative_path(_: RelativePath) -> _Schema:
    return {"type": "string", "minLength": 1, "pattern": _RELATIVE}


@_leaf.register(Integer)
def _integer(kind: Integer) -> _Schema:
    return {"type": "integer", "minimum": kind.minimum, "maximum": kind.maximum}


@_leaf.register(Number)
def _number(kind: Number) -> _Schema:
    bounds = {"minimum": kind.minimum, "exclusiveMinimum": kind.above, "exclusiveMaximum": kind.below}
    return {"type": "number", **{name: bound for name, bound in bounds.items() if math.isfinite(bound)}}


@_leaf.register(Duration)
def _duration(_: Duration) -> _Schema:
    return _written(_DURATION, TEXT_CHARACTERS_MAX)


@_leaf.register(Amount)
def _amount(_: Amount) -> _Schema:
    return {"anyOf": [{"type": "number", "minimum": 0}, _written(_QUANTITY, TEXT_CHARACTERS_MAX)]}


@_leaf.register(Share)
def _share(_: Share) -> _Schema:
    return {"anyOf": [{"type": "integer", "minimum": 0}, _written(_SHARE, SHARE_CHARACTERS_MAX)]}


def _written(pattern: str, characters_max: int) -> _Schema:
    return {"type": "string", "pattern": pattern, "maxLength": characters_max}


@_leaf.register(Texts)
def _texts(_: Texts) -> _Schema:
    return {"type": "array", "items": {"type": "string", "minLength": 1}}


@_leaf.register(FreeForm)
def _free_form(_: FreeForm) -> _Schema:
    return {"type": "object"}


@_leaf.register(Environment)
def _environment(_: Environment) -> _Schema:
    reserved = "|".join(RESERVED_PREFIXES)
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^(?!{reserved}){ENVIRONMENT_NAME.pattern}$"},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }


def _section(section: Section, path: str) -> _Schema:
    keys = section.keys
    members: dict[str, Json] = {name: _schema(field, f"{path}.{name}".lstrip(".")) for name, field in keys.items()}
    members |= {name: {"enum": [value, None] if value is not None else [None]} for name, value in section.fixed.items()}
    required: list[Json] = [name for name, field in keys.items() if field.required]
    schema: _Schema = {"type": "object", "additionalProperties": False, "properties": members}
    if required:
        schema["required"] = required
    return schema
