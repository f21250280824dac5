"""Names from other versions of Cortex are refused, with the name in Cortex 0.35."""

from __future__ import annotations

import pytest

from insula.errors import ProjectInvalid
from insula.project.configuration.cortex_yaml import parse
from insula.project.handler_source import check

HEAD = "- name: a\n  kind: AsyncAPI\n"
HANDLER = "  handler: {type: python, path: handler.py}\n"


def refusal(text: str) -> str:
    with pytest.raises(ProjectInvalid) as caught:
        parse(text.encode(), "cortex.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            "  predictor: {type: python, path: p.py}\n",
            'key "predictor" is not supported: since Cortex 0.35 it is called',
        ),
        (f"{HANDLER}  monitoring: {{}}\n", 'key "monitoring" is not supported: Cortex dropped it; push metrics'),
        (f"{HANDLER}  endpoint: x\n", 'key "endpoint" is not supported: it is networking.endpoint'),
        (f"{HANDLER}  pod: {{}}\n", 'key "pod" is not supported: Cortex 0.36 and later run containers'),
        ("  handler: {type: tensorflow, path: p.py, model_path: x}\n", "it is handler.models.path since Cortex 0.35"),
        (f"{HANDLER}  compute: {{min_replicas: 2}}\n", "it is autoscaling.min_replicas since Cortex 0.35"),
        (f"{HANDLER}  autoscaling: {{max_concurrency: 2}}\n", "in Cortex 0.35 it is max_replica_concurrency"),
        (f"{HANDLER}  networking: {{api_gateway: none}}\n", "Insula has one gateway for all APIs"),
        (
            "  handler: {type: onnx, path: p.py}\n",
            'handler: type: invalid value (got "onnx", must be "python" or "tensorflow"); Cortex',
        ),
        (
            "  predictor: {type: onnx, path: p.py}\n",
            'predictor: type: invalid value (got "onnx", must be "python" or "tensorflow"); Cortex',
        ),
    ],
)
def test_a_key_of_another_version_is_refused_with_its_new_name(entry: str, sentence: str) -> None:
    assert sentence in refusal(HEAD + entry)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("RealtimeAPI", "make it an AsyncAPI, whose handle_async does what predict or handle_post did"),
        ("SyncAPI", "make it an AsyncAPI, whose handle_async does"),
        ("BatchAPI", "submit each item of a batch to it"),
        ("TaskAPI", "whose handle_async does what __call__ did"),
        ("TrafficSplitter", "leave this entry out, and call the APIs by their own names"),
        ("deployment", "leave this entry out; Cortex needs none since 0.13"),
        ("Whatever", "leave this entry out, or make it an AsyncAPI"),
    ],
)
def test_another_kind_is_refused_before_its_keys(kind: str, advice: str) -> None:
    """Otherwise the error would be that the keys of this kind are unknown."""
    sentence = refusal(f"- name: a\n  kind: {kind}\n  predictor: {{type: python}}\n")
    assert f'kind: invalid value (got "{kind}", must be "AsyncAPI"); Insula runs AsyncAPI only: ' in sentence
    assert advice in sentence


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (
            "class PythonPredictor:\n    def predict(self, payload): pass\n",
            "found class PythonPredictor; since Cortex 0.35 it is called Handler, and its method predict is called",
        ),
        (
            "class Handler:\n    def predict(self, payload): pass\n",
            'required method "handle_async" is not defined: found predict; since Cortex 0.35 it is called handle_async',
        ),
        (
            "class Handler:\n    def handle_post(self, payload): pass\n",
            "found handle_post; a RealtimeAPI has it; an AsyncAPI has handle_async (line 1)",
        ),
    ],
)
def test_a_class_or_method_of_another_version_is_refused_with_its_new_name(source: str, found: str) -> None:
    with pytest.raises(ProjectInvalid, match=r"^error in handler\.py: ") as caught:
        check(source.encode(), "handler.py", "python")
    assert found in str(caught.value)
