"""A change of Insula gives no unchanged configuration another version, and changes no sentence of an error.

`recorded/versions.json` holds the SHA-256 of each API's canonical JSON, `recorded/errors.json` the sentences. In the
latter, `python` and `tensorflow` hold what comes after five lines that define a handler of this type.
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
    """Every key below `value`, with its dotted path; items of a list add nothing to it."""
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from keys(item)
    if isinstance(value, dict):
        for name, member in cast("dict[str, object]", value).items():
            yield name
            yield from (f"{name}.{key}" for key in keys(member))


def test_canonical_json_is_that_of_the_record() -> None:
    specs = parse(CONFIGURATION.encode(), "cortex.yaml")
    assert {spec.name: hashlib.sha256(spec.to_json()).hexdigest() for spec in specs} == recorded("versions.json")
    assert [ApiSpec.from_json(spec.to_json()) for spec in specs] == specs


def test_the_record_holds_every_key() -> None:
    assert set(keys(yaml.safe_load(CONFIGURATION))) >= {path for path, _ in API.all_keys()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BEFORE[kind] + text, error)
        for kind, errors in recorded("errors.json").items()
        for text, error in errors.items()
    ],
)
def test_a_sentence_is_that_of_the_record(text: str, sentence: str) -> None:
    assert refusal(text) == sentence
