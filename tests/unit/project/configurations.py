"""Hypothesis' configurations, made from the table of keys: most of them valid, each key left out, null or given."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from hypothesis import strategies as st

from insula.project.fields import Amount, Duration, Field, Integer, Number, RelativePath, Share, Text
from insula.project.keys import API
from insula.project.sections import ENVIRONMENT_NAME, Environment, FreeForm, Section, Sections, Texts

Values = st.SearchStrategy[Any]

# What YAML can hold without escapes.
TEXT: Final = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), max_size=12)
SCALARS: Final = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, width=32) | TEXT
ANYTHING: Final = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5)
PATHS: Final = st.lists(st.sampled_from(["a", "b.py", "..", ".", "", "..x"]), min_size=1, max_size=4).map("/".join)


def _text(field: Text) -> Values:
    if field.choices:
        return st.sampled_from(field.choices)
    if not field.pattern:
        return TEXT
    # Some of a pattern's matches hold what YAML cannot without escapes.
    return st.from_regex(field.pattern, fullmatch=True).filter(lambda text: text.isascii() and text.isprintable())


def _number(field: Number) -> Values:
    return st.floats(max(field.minimum, field.above, 0), min(field.below, 10_000)) | st.integers(0, 3)


def _duration(_: Duration) -> Values:
    units = st.sampled_from(["h", "m", "s", "ms"])
    parts = st.tuples(st.integers(0, 90).map(str) | st.sampled_from(["1.5", "10"]), units).map("".join)
    return st.integers(1, 30).map(lambda tens: f"{tens}0s") | st.lists(parts, min_size=1, max_size=2).map("".join)


def _amount(_: Amount) -> Values:
    written = st.tuples(st.integers(0, 900), st.sampled_from(["", "m", "Mi", "G", "e3", "E", ".5Gi"]))
    return st.integers(0, 2**40) | st.floats(0, 1e9) | written.map(lambda pair: f"{pair[0]}{pair[1]}")


def _section(section: Section) -> Values:
    given = {name: values(field) for name, field in section.keys.items()}
    required = {name: each for name, each in given.items() if section.keys[name].required}
    optional = {name: st.none() | each for name, each in given.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


_OF_KIND: Final = MappingProxyType[type, Callable[[Any], Values]](
    {
        Text: _text,
        RelativePath: lambda _: PATHS,
        Integer: lambda field: st.integers(field.minimum, min(field.maximum, 100)),
        Number: _number,
        Duration: _duration,
        Amount: _amount,
        Share: lambda _: st.integers(0, 9) | st.integers(0, 100).map("{}%".format),
        Texts: lambda _: st.lists(TEXT, max_size=3),
        Environment: lambda _: st.dictionaries(st.from_regex(ENVIRONMENT_NAME, fullmatch=True), SCALARS, max_size=3),
        FreeForm: lambda _: st.dictionaries(TEXT, ANYTHING, max_size=3),
        Section: _section,
        Sections: lambda field: st.lists(_section(field.item), max_size=2),
    }
)


def values(field: Field) -> Values:
    """What a key of this kind may hold, and now and then what it may not."""
    return _OF_KIND[type(field)](field)


def reconciled(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without the contradictions between keys that chance would nearly always bring."""
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
    """One API, as the file's parser would hand it on."""
    return values(API).map(reconciled)
