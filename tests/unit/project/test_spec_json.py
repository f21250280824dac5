"""An ApiSpec, the configuration of one API, as JSON. It is canonical and complete, and is checked when it is read."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.errors import ProjectInvalid
from insula.project.configuration.cortex_yaml import parse
from insula.project.configuration.spec import SPEC_BYTES_MAX, ApiSpec
from insula.project.configuration.tree import Json
from tests.unit.project.entries import MINIMAL, spec

FULL = """\
- name: full
  kind: AsyncAPI
  handler:
    type: tensorflow
    path: src/handler.py
    dependencies: {pip: a.txt, conda: b.txt, shell: c.sh}
    config: {b: 1, a: [1.0, {x: null}]}
    python_path: src
    image: quay.io/x/y:1
    env: {Z: 1, A: 2}
    log_level: debug
    shm_size: 64Mi
    models: {paths: [{name: m, path: s3://b/m, signature_key: s}], signature_key: t}
  compute: {cpu: 2, mem: 1Gi, gpu: 1, node_groups: [a, b]}
  autoscaling: {min_replicas: 0, window: 90s, downscale_stabilization_period: 250ms}
  update_strategy: {max_surge: 3, max_unavailable: 0}
  networking: {endpoint: v1/full}
"""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def keys_of(value: object) -> list[str]:
    """Return every key anywhere in `value`."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return [*members, *(key for member in members.values() for key in keys_of(member))]
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [key for item in items for key in keys_of(item)]


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_a_spec_is_unchanged_by_json(text: str) -> None:
    (api,) = parse(text.encode(), "cortex.yaml")
    assert ApiSpec.from_json(api.to_json()) == api
    assert ApiSpec.from_json(api.to_json()).to_json() == api.to_json()


def test_json_is_canonical() -> None:
    """Different notations of the same values in cortex.yaml give the same JSON, and so the same version."""
    same = spec("    env: {B: 1, A: 2}\n  compute: {}\n  autoscaling: {window: 1m}\n")
    assert same.to_json() == spec("    env: {A: '2', B: '1'}\n  autoscaling: {window: 60s}\n").to_json()
    assert same.to_json().startswith(b'{"autoscaling":{"downscale_stabilization_period":"300s"')


def test_a_key_of_concurrency_is_in_the_json_only_with_a_value_of_its_own() -> None:
    """A configuration without these keys keeps the version that it had before they existed."""
    assert spec("    processes_per_replica: 1\n    threads_per_process: 1\n").to_json() == spec().to_json()
    assert b"per_" not in spec().to_json()
    handler = json.loads(spec("    threads_per_process: 2\n    max_memory_per_process: 1Gi\n").to_json())["handler"]
    assert {key: value for key, value in handler.items() if "per_" in key} == {
        "threads_per_process": 2,
        "max_memory_per_process": "1Gi",
    }


def test_config_keeps_its_order() -> None:
    assert list(ApiSpec.from_json(spec("    config: {b: 1, a: 2}\n").to_json()).handler.config) == ["b", "a"]


def test_json_is_checked_with_the_same_rules() -> None:
    for old, new, problem in (
        ('"min_replicas":1', '"min_replicas":101', "min_replicas cannot be greater than max_replicas (101 > 100)"),
        ('"type":"python"', '"type":"x"', "handler: type: invalid value"),
        ('"name":"my-api"', '"name":"My-Api"', "name: must consist of"),
        ('"endpoint":"/my-api"', '"endpoint":"/ui"', "/ui is reserved"),
        ('"kind":"AsyncAPI"', '"kind":"AsyncAPI","kind":"AsyncAPI"', 'key "kind" is duplicated'),
        ('"env":{}', '"env":{"A":"\\ud800"}', "must be valid Unicode"),
        ('"config":{}', '"config":{"a":NaN}', "must be a finite number"),
        ('"path":"handler.py"', '"path":"../handler.py"', "must be a path inside the project directory"),
    ):
        text = spec().to_json().decode()
        assert old in text
        with pytest.raises(ProjectInvalid) as caught:
            ApiSpec.from_json(text.replace(old, new).encode())
        assert problem in str(caught.value)


def test_a_spec_over_the_limit_is_refused_as_a_file_and_as_json() -> None:
    rows = ", ".join(["'ééééééééééééééé'"] * 12_000)
    with pytest.raises(ProjectInvalid, match="put large values into a file"):
        spec(f"    config: {{rows: [{rows}]}}\n")
    with pytest.raises(ProjectInvalid, match="must not be larger than"):
        ApiSpec.from_json(b" " * (SPEC_BYTES_MAX + 1))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_garbage_is_refused_with_project_invalid(data: bytes) -> None:
    with pytest.raises(ProjectInvalid):
        ApiSpec.from_json(data)


@given(st.data(), VALUES)
def test_any_value_anywhere_is_accepted_or_refused(data: st.DataObject, value: object) -> None:
    """With any value at any key, from_json returns a spec or raises ProjectInvalid.

    A spec that is written as JSON and read again is equal.
    """
    (full,) = parse(FULL.encode(), "cortex.yaml")
    tree: Json = json.loads(full.to_json())
    key = data.draw(st.sampled_from(sorted(set(keys_of(tree)))))
    try:
        api = ApiSpec.from_json(json.dumps(replaced(tree, key, value)).encode())
    except ProjectInvalid:
        return
    assert ApiSpec.from_json(api.to_json()) == api


def replaced(tree: Json, key: str, value: object) -> object:
    """Return the tree with `value` at each `key`."""
    if isinstance(tree, dict):
        return {name: value if name == key else replaced(member, key, value) for name, member in tree.items()}
    return [replaced(item, key, value) for item in tree] if isinstance(tree, list) else tree


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="utf-8"), max_size=8),
            lambda inner: st.lists(inner, max_size=4),
        ),
        max_size=5,
    )
)
def test_every_config_is_unchanged_by_json(config: dict[str, Json]) -> None:
    entry = json.loads(spec().to_json())
    entry["handler"]["config"] = config
    api = ApiSpec.from_json(json.dumps(entry).encode())
    assert json.dumps(ApiSpec.from_json(api.to_json()).handler.config) == json.dumps(config)
