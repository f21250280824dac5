"""The JSON Schema accepts every configuration that the reader accepts, and has every key, kind and bound."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from insula.errors import ProjectInvalid
from insula.project.configuration.cortex_yaml import parse
from insula.project.configuration.spec import API
from scripts.generate_reference import ROOT, SCHEMA, config_schema, main
from tests.unit.project.configurations import entries
from tests.unit.project.entries import MINIMAL

VALIDATOR = Draft202012Validator(config_schema())


def accepted(configuration: list[Any]) -> bool:
    """Whether the reader accepts the configuration. It is written as JSON, which is YAML with quoted strings."""
    try:
        parse(json.dumps(configuration, ensure_ascii=False).encode(), "cortex.yaml")
    except ProjectInvalid:
        return False
    return True


@settings(max_examples=300)
@given(st.lists(entries(), min_size=1, max_size=2))
def test_the_schema_accepts_every_configuration_that_the_reader_accepts(configuration: list[Any]) -> None:
    """The test uses 300 accepted configurations that Hypothesis makes from the dataclasses."""
    assume(accepted(configuration))
    VALIDATOR.validate(configuration)


@pytest.mark.parametrize(
    "more",
    [
        "  hanlder: {}\n",
        "    log_level: loud\n",
        "    path: /etc/passwd\n",
        "    path: ../handler.py\n",
        "    path: null\n",
        "    env: {CORTEX_X: 1}\n",
        "    env: {A: [1]}\n",
        "    config: 1\n",
        "    models: {path: /models}\n",
        "    models: {paths: [{name: one}]}\n",
        "  compute: {cpu: lots}\n",
        "  compute: {gpu: -1}\n",
        "  autoscaling: {max_replica_concurrency: 30001}\n",
        "  autoscaling: {max_downscale_factor: 1}\n",
        "  autoscaling: {target_replica_concurrency: 0}\n",
        "  autoscaling: {window: 60}\n",
        "  update_strategy: {max_surge: 25.5%}\n",
        "  networking: {endpoint: a b}\n",
    ],
)
def test_the_schema_refuses_common_mistakes(more: str) -> None:
    configuration = yaml.safe_load(MINIMAL.replace("    path: handler.py\n", "") if " path:" in more else MINIMAL)
    (entry,) = configuration
    for section, value in yaml.safe_load(f"handler:\n{more}" if more.startswith("    ") else more).items():
        entry[section] = {**entry.get(section, {}), **value}
    assert not VALIDATOR.is_valid(configuration)
    assert not accepted(configuration)


def test_the_smallest_configuration_is_valid() -> None:
    assert VALIDATOR.is_valid(yaml.safe_load(MINIMAL))
    assert not VALIDATOR.is_valid([])
    assert not VALIDATOR.is_valid({})


def test_each_key_has_a_description() -> None:
    assert [path for path, key in API.all_keys() if not key.meaning.endswith(".")] == []


def test_the_examples_and_the_tests_projects_are_valid() -> None:
    """They are checked with the JSON Schema."""
    written = [*ROOT.glob("examples/*/cortex.yaml"), *ROOT.glob("tests/projects/*/cortex.yaml")]
    assert written
    wrong = {
        str(path): error.message
        for path in written
        for error in VALIDATOR.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))
    }
    assert wrong == {}


def test_the_published_files_are_up_to_date() -> None:
    """The schema is valid, and the check in `make check` passes."""
    assert main(check=True) == 0
    Draft202012Validator.check_schema(json.loads((ROOT / SCHEMA).read_text(encoding="utf-8")))
