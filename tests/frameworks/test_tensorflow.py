"""`type: tensorflow`: SavedModels that TensorFlow exports here, fetched from S3 and served through a whole stack."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio

from tests.environments import python_of
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until_blocking

ROOT = Path(__file__).resolve().parents[2]
WAVEFORMS = ROOT / "examples" / "waveform-classifier"
MODELS = ROOT / "tests" / "projects" / "saved-models"
BUCKET = "saved-models"

pytestmark = [pytest.mark.slow, pytest.mark.frameworks, pytest.mark.timeout(1800)]  # the first run installs 1.5 GB


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def python() -> Path:
    """The interpreter of every handler here: neither project names a package, so they share one environment."""
    return await python_of(WAVEFORMS, tensorflow=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(python: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stack]:
    """A stack whose S3 has no model yet."""
    async with running_stack([WAVEFORMS, MODELS], data=tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def waveforms(stack: Stack, python: Path) -> HttpApi:
    """Failing while there is no model; it is trained and uploaded meanwhile."""
    state, reason = stack.state("waveform-classifier")
    assert state == "failing"
    assert "handler: models: path: s3://cortex-examples/tensorflow/waveform-classifier/: " in reason
    assert "NoSuchBucket" in reason
    subprocess.run([python, WAVEFORMS / "train.py"], env=os.environ | stack.s3_env, check=True)
    return HttpApi(f"{stack.public}/waveform-classifier")


@pytest.fixture(scope="module")
def exported(stack: Stack, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack, with the test's own models in its S3."""
    folder = tmp_path_factory.mktemp("exported")
    subprocess.run([python, MODELS / "export.py", folder], check=True)
    env = stack.s3_env
    s3 = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL_S3"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    s3.create_bucket(Bucket=BUCKET)
    for path in folder.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, f"all/{path.relative_to(folder).as_posix()}")
    return stack


@pytest.fixture(scope="module")
def named(exported: Stack) -> HttpApi:
    return HttpApi(f"{exported.public}/two-models")


@pytest.fixture(scope="module")
def folder(exported: Stack) -> HttpApi:
    return HttpApi(f"{exported.public}/folder-of-models")


def run(api: HttpApi, **payload: Any) -> dict[str, Any]:
    return api.run(json.dumps(payload).encode(), "application/json")


@pytest.mark.parametrize("sample", sorted((WAVEFORMS / "samples").iterdir()), ids=lambda path: path.stem)
def test_a_model_that_was_just_trained_gives_right_answers(waveforms: HttpApi, sample: Path) -> None:
    workload = waveforms.run(sample.read_bytes(), "application/json")
    assert workload["status"] == "completed"
    assert workload["result"]["label"] == sample.stem
    assert workload["result"]["probability"] > 0.8


def test_the_latest_version_answers_unless_another_is_asked_for(named: HttpApi) -> None:
    x = [[1, 2.5], [0.1, -3]]
    assert run(named, input={"x": x}, model_name="scale")["result"] == {
        "scaled": [10.0, 25.0, 1.0, -30.0],
        "order": [0, 1, 1, 0],
        "largest": ["1", "0"],
    }
    older = run(named, input={"x": x}, model_name="scale", model_version="3")
    assert older["result"]["scaled"] == [3.0, 7.5, 0.3, -9.0]


def test_each_model_has_its_signature(named: HttpApi, folder: HttpApi) -> None:
    described = run(named, input={"text": ["naïve", ""]}, model_name="texts")["result"]
    assert [base64.b64decode(text).decode() for text in described["upper"]] == ["NAÏVE", ""]
    assert described["bytes"] == [6, 0]
    assert run(folder, input={"text": "route 66"}, model_name="texts")["result"] == {"has_digits": [True]}


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"input": {"x": [[1, 2]]}}, "model_name was not specified, choose one of the following: ['scale', 'texts']"),
        ({"input": {}, "model_name": "sclae"}, "'sclae' model wasn't found in the list of available models"),
        ({"input": {}, "model_name": "scale", "model_version": "newest"},
         "model_version must be either a parse-able numeric value or 'latest'"),
        ({"input": {}, "model_name": "scale", "model_version": "4"},
         "model 'scale' has no version 4, choose one of the following: ['3', '10']"),
        ({"input": {}, "model_name": "scale"}, "missing key 'x' for model 'scale' of version '10' for signature key"),
        ({"input": {"x": [[1, 2]], "y": 1}, "model_name": "scale"}, "unexpected key 'y' for model 'scale'"),
        ({"input": [[1, 2]], "model_name": "scale"}, "model_input must be a dictionary for model 'scale'"),
        ({"input": {"x": [["a", "b"]]}, "model_name": "scale"}, 'key "x": expected shape (None, 2) of float32: '),
        ({"input": {"x": 5}, "model_name": "scale"}, "cannot compute inputs of the shapes {x: []}"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("api", ["two-models", "folder-of-models"])
def test_a_wrong_call_fails_its_workload_and_says_why(
    exported: Stack, api: str, payload: dict[str, Any], problem: str
) -> None:
    workload = run(HttpApi(f"{exported.public}/{api}"), **payload)
    assert workload["status"] == "failed"
    assert problem in workload["error"]["message"]


def test_a_signature_the_model_lacks_keeps_the_api_from_starting(exported: Stack) -> None:
    """The reason names those it has."""
    expected = "signature_key 'predict_all' was not found in signature def map for the model of version '1'"
    until_blocking(lambda: expected in exported.api("no-such-signature").reason, within_s=90)
    assert "describe, serving_default" in exported.api("no-such-signature").reason
