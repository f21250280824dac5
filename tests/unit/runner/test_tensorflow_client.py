"""The tensorflow_client's choice of signature and version. tests/frameworks/test_tensorflow.py uses TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula_runner.handler.tensorflow_client import ModelInvalid, choose_signature, versions_in


@pytest.mark.parametrize(
    ("available", "configured", "chosen"),
    [
        (["serving_default"], None, "serving_default"),
        (["classification", "predict"], None, "predict"),
        (["classification", "predict"], "classification", "classification"),
    ],
)
def test_the_configured_signature_the_only_one_or_predict_is_called(
    available: list[str], configured: str | None, chosen: str
) -> None:
    assert choose_signature(available, configured, "model 'a'") == chosen


@pytest.mark.parametrize(
    ("available", "configured", "problem"),
    [
        ([], None, "unable to find signature defs in model 'a'"),
        (["x", "y"], None, "signature_key was not configured by user, please specify one of the following keys"),
        (["x", "y"], "z", "signature_key 'z' was not found in signature def map for model 'a', but found the"),
    ],
)
def test_a_signature_that_cannot_be_chosen_names_those_there_are(
    available: list[str], configured: str | None, problem: str
) -> None:
    with pytest.raises(ModelInvalid, match=problem) as raised:
        choose_signature(available, configured, "model 'a'")
    assert ", ".join(available) in str(raised.value)


def test_the_highest_number_is_the_latest_version(tmp_path: Path) -> None:
    for version in ("9", "10", "0002", "old"):
        (tmp_path / version).mkdir()
    assert versions_in(str(tmp_path)) == ["0002", "9", "10"]


def test_a_folder_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="no version of a model"):
        versions_in(str(tmp_path))
