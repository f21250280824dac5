"""Kubernetes' own schemas accept every object, and refuse unknown keys."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from kubernetes_validate import utils

from tests.unit.kubernetes.manifests import Object, every, of_folder, only

VERSIONS = tuple(f"1.{minor}" for minor in range(25, 38))
ELSEWHERE = {"ScaledObject"}
"""Kinds that Kubernetes itself does not have. test_keda.py checks them."""
_read: Any = utils.schema_contents


@cache
def _contents(filename: str, desired_version: str) -> Any:
    return _read(filename, desired_version)


@pytest.fixture(autouse=True)
def schemas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache the validator's schema files, which it would otherwise read again for each object."""
    monkeypatch.setattr(utils, "schema_contents", _contents)


def refusal(each: Object, version: str) -> str:
    """Return why this version of Kubernetes refuses an object; empty if it does not."""
    try:
        utils.validate(each, version, strict=True)
    except utils.ValidationError as error:
        return f"{each['kind']} {each['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message[:200]}"
    return ""


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object(version: str) -> None:
    found = [(name, refusal(each, version)) for name, each in every() if each["kind"] not in ELSEWHERE]
    assert [each for each in found if each[1]] == []


def test_a_misspelt_key_is_refused() -> None:
    """The validator finds an unknown key and a value of a wrong type."""
    deployment = only(of_folder("src/insula/templates/iris"), "Deployment")
    misspelt = {**deployment, "spec": {**deployment["spec"], "progressDeadlineS": 5}}
    assert "progressDeadlineS" in refusal(misspelt, "1.31")
    assert "replicas" in refusal({**deployment, "spec": {**deployment["spec"], "replicas": "two"}}, "1.31")
