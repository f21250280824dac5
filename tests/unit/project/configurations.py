"""Hypothesis strategies for configurations, from the dataclasses. Most are valid; a key is missing, null or set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from hypothesis import strategies as st

from insula.project.configuration.kinds import ENVIRONMENT_NAME, Kind, Schema
from insula.project.configuration.sections import Key, Section
from insula.project.configuration.spec import API

Values = st.SearchStrategy[Any]

# Characters that need no escapes in YAML.
TEXT: Final = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), max_size=12)
SCALARS: Final = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, width=32) | TEXT
ANYTHING: Final = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5)
PATHS: Final = st.lists(st.sampled_from(["a", "b.py", "..", ".", "", "..x"]), min_size=1, max_size=4).map("/".join)


def _text(schema: Schema) -> Values:
    if "pattern" not in schema:
        return TEXT
    # Some matches of a pattern have characters that need escapes in YAML.
    matches = st.from_regex(str(schema["pattern"]), fullmatch=True)
    return matches.filter(lambda text: text.isascii() and text.isprintable())


def _number(schema: Schema) -> Values:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    return st.floats(cast("float", least), cast("float", schema.get("exclusiveMaximum", 10_000))) | st.integers(0, 3)


def _integer(schema: Schema) -> Values:
    return st.integers(cast("int", schema["minimum"]), min(cast("int", schema["maximum"]), 100))


def _durations() -> Values:
    units = st.sampled_from(["h", "m", "s", "ms"])
    parts = st.tuples(st.integers(0, 90).map(str) | st.sampled_from(["1.5", "10"]), units).map("".join)
    return st.integers(1, 30).map(lambda tens: f"{tens}0s") | st.lists(parts, min_size=1, max_size=2).map("".join)


def _amounts() -> Values:
    written = st.tuples(st.integers(0, 900), st.sampled_from(["", "m", "Mi", "G", "e3", "E", ".5Gi"]))
    return st.integers(0, 2**40) | st.floats(0, 1e9) | written.map(lambda pair: f"{pair[0]}{pair[1]}")


def _section(keys: Mapping[str, Key]) -> Values:
    given = {name: values(key.kind) for name, key in keys.items()}
    required = {name: each for name, each in given.items() if keys[name].required}
    optional = {name: st.none() | each for name, each in given.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


# By the start of the kind's description in the reference; the first match is used.
_OF_WORDS: Final[Mapping[str, Callable[[Schema], Values]]] = MappingProxyType(
    {
        "`": lambda schema: st.sampled_from(cast("list[str]", schema["enum"])),
        "text": _text,
        "path": lambda _: PATHS,
        "whole number": _integer,
        "number of replicas": lambda _: st.integers(0, 9) | st.integers(0, 100).map("{}%".format),
        "number": _number,
        "duration": lambda _: _durations(),
        "quantity": lambda _: _amounts(),
        "list of texts": lambda _: st.lists(TEXT, max_size=3),
        "map of scalars": lambda _: st.dictionaries(
            st.from_regex(ENVIRONMENT_NAME, fullmatch=True), SCALARS, max_size=3
        ),
        "map of anything": lambda _: st.dictionaries(TEXT, ANYTHING, max_size=3),
    }
)


def values(kind: Kind[object]) -> Values:
    """Return a strategy for values of this type. Some of the values are invalid."""
    if isinstance(kind, Section):
        section = _section(kind.keys)
        return st.lists(section, max_size=2) if kind.words == "list of maps" else section
    return next(make(kind.schema) for words, make in _OF_WORDS.items() if kind.words.startswith(words))


def reconciled(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry without contradictions between keys, which random values nearly always have."""
    handler: dict[str, Any] = entry["handler"]
    models: dict[str, Any] | None = handler.pop("models", None)
    if handler["type"] == "tensorflow":
        given = {name: value for name, value in (models or {}).items() if value}
        places = [name for name in ("path", "paths", "dir") if name in given] or ["dir"]
        dropped = dict.fromkeys(places[1:])
        handler["models"] = {"dir": "s3://bucket/models", **given} if places == ["dir"] else {**given, **dropped}
    scaling: dict[str, Any] | None = entry.get("autoscaling")
    if scaling:
        counts = [name for name in ("min_replicas", "init_replicas", "max_replicas") if scaling.get(name) is not None]
        scaling.update(zip(counts, sorted(max(1, scaling[name]) for name in counts), strict=True))
    return entry


def entries() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for entries of one API, as a YAML parser returns them."""
    return values(API).map(reconciled)
