"""The examples that serve a model return right results over HTTP, each with its own framework."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.contract.examples.conftest import DIGITS, IRIS, RECEIPTS, TUMORS
from tests.environments import python_of
from tests.http_api import HttpApi
from tests.stack import Stack
from tests.waiting import until_blocking

DRAW = """
import sys
from PIL import Image, ImageDraw, ImageFont
image = Image.new(sys.argv[1], (480, 200), "white")
for row, line in enumerate(sys.argv[2:]):
    ImageDraw.Draw(image).text((40, 30 + 60 * row), line, fill="black", font=ImageFont.load_default(size=34))
image.save(sys.stdout.buffer, "PNG")
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a machine's first run installs four environments


def api(stack: Stack, project: Path) -> HttpApi:
    return HttpApi(f"{stack.public}/{project.name}")


def samples(project: Path) -> list[Path]:
    return sorted((project / "samples").iterdir())


@pytest.fixture(scope="module")
def iris(stack: Stack) -> HttpApi:
    """The API iris-classifier. Its handler cannot start until this fixture has trained and uploaded its model to S3."""
    state, reason = stack.state("iris-classifier")
    assert state == "failing"
    assert "failed to initialize handler implementation: handler.py: __init__: " in reason
    python = asyncio.run(python_of(IRIS))
    subprocess.run([python, IRIS / "train.py"], env=os.environ | stack.s3_env, check=True)
    return api(stack, IRIS)


@pytest.mark.parametrize("sample", samples(IRIS), ids=lambda path: path.stem)
def test_scikit_learn_classifies_with_a_model_from_s3(iris: HttpApi, sample: Path) -> None:
    workload = iris.run(sample.read_bytes(), "application/json")
    assert workload["status"] == "completed"
    assert workload["result"]["label"] == sample.stem
    assert 0.5 < workload["result"]["probability"] <= 1


def test_the_error_names_a_missing_measurement(iris: HttpApi) -> None:
    workload = iris.run(b'{"sepal_length": 5.1}', "application/json")
    assert workload["status"] == "failed"
    assert "sepal_width" in workload["error"]["message"]


@pytest.mark.parametrize("sample", samples(DIGITS), ids=lambda path: path.stem)
def test_onnxruntime_recognises_digits(stack: Stack, sample: Path) -> None:
    workload = api(stack, DIGITS).run(sample.read_bytes(), "image/png")
    assert workload["status"] == "completed"
    assert workload["result"]["digit"] == int(sample.stem)


@pytest.mark.parametrize("diagnosis", ["malignant", "benign"])
def test_xgboost_diagnoses_one_sample(stack: Stack, diagnosis: str) -> None:
    sample = json.loads((TUMORS / "samples" / f"{diagnosis}.json").read_bytes())
    whole = api(stack, TUMORS).run(json.dumps(sample).encode(), "application/json")["result"]
    assert whole["diagnoses"] == [diagnosis]

    del sample["mean radius"]
    partial = api(stack, TUMORS).run(json.dumps(sample).encode(), "application/json")["result"]
    assert partial["diagnoses"] == [diagnosis]


def test_xgboost_diagnoses_a_table(stack: Stack) -> None:
    table = (TUMORS / "samples" / "held-out.csv").read_bytes()
    truth = [row["diagnosis"] for row in csv.DictReader(io.StringIO(table.decode()))]
    workload = api(stack, TUMORS).run(table, "text/csv")
    assert workload["status"] == "completed"
    right = sum(map(str.__eq__, workload["result"]["diagnoses"], truth))
    assert right / len(truth) > 0.95


def test_ocr_reads_the_sample(stack: Stack) -> None:
    workload = api(stack, RECEIPTS).run((RECEIPTS / "samples" / "receipt.png").read_bytes(), "image/png")
    lines = [line["text"] for line in workload["result"]["lines"]]
    assert lines == ["Corner Bakery", "Rye bread 4.20", "Espresso 2.80", "Apple cake 3.50", "Total 10.50"]
    until_blocking(lambda: ("read an image", 5) in logged(stack))


def logged(stack: Stack) -> list[tuple[object, object]]:
    """Return the receipt reader's log records: the message and the field `lines` of each."""
    return [(record.get("message"), record.get("lines")) for record in stack.log_records("receipt-reader")]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
async def test_ocr_reads_a_new_image(stack: Stack, mode: str) -> None:
    """The image is in black and white, in greys, in colours, or has an alpha channel."""
    number = str(100_000 + secrets.randbelow(900_000))
    python = await python_of(RECEIPTS)
    image = subprocess.check_output([python, "-c", DRAW, mode, "Receipt", number])
    workload = api(stack, RECEIPTS).run(image, "application/octet-stream")
    assert [line["text"] for line in workload["result"]["lines"]] == ["Receipt", number]


def test_a_payload_that_is_no_image_fails_with_a_message(stack: Stack) -> None:
    for project in (DIGITS, RECEIPTS):
        workload = api(stack, project).run(b"\x00\x01", "image/png")
        assert workload["status"] == "failed"
        assert "cannot identify image file" in workload["error"]["message"]
