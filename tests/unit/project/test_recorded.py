"""The canonical JSON of unchanged configurations, hence their versions, and the error texts equal the recorded ones.

`recorded/versions.json` has the SHA-256 of each API's canonical JSON, `recorded/errors.json` the error texts. In the
latter, each text in `python` and `tensorflow` follows five lines that define a handler of this type.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from insula.project.configuration.cortex_yaml import parse
from insula.project.configuration.spec import API, ApiSpec
from tests.unit.project.entries import MINIMAL, refusal

RECORDED: Final = Path(__file__).parent / "recorded"
CONFIGURATION: Final = (RECORDED / "configuration.yaml").read_text(encoding="utf-8")
BEFORE: Final = {"configuration": "", "python": MINIMAL, "tensorflow": MINIMAL.replace("python", "tensorflow")}


def recorded(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((RECORDED / name).read_text(encoding="utf-8")))


def keys(value: object) -> Iterator[str]:
    """Yield the dotted path of every key below `value`. Items of a list add nothing to the path."""
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from keys(item)
    if isinstance(value, dict):
        for name, member in cast("dict[str, object]", value).items():
            yield name
            yield from (f"{name}.{key}" for key in keys(member))


def test_the_canonical_json_equals_the_recorded_one() -> None:
    specs = parse(CONFIGURATION.encode(), "cortex.yaml")
    assert {spec.name: hashlib.sha256(spec.to_json()).hexdigest() for spec in specs} == recorded("versions.json")
    assert [ApiSpec.from_json(spec.to_json()) for spec in specs] == specs


def test_the_recorded_configurations_have_every_key() -> None:
    assert set(keys(yaml.safe_load(CONFIGURATION))) >= {path for path, _ in API.all_keys()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BEFORE[kind] + text, error)
        for kind, errors in recorded("errors.json").items()
        for text, error in errors.items()
    ],
)
def test_each_error_text_equals_the_recorded_one(text: str, sentence: str) -> None:
    assert refusal(text) == sentence
