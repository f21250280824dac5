"""examples/language-identifier returns right results for every kind of payload, on a whole stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.examples.conftest import LANGUAGES
from tests.http_api import HttpApi
from tests.stack import Stack

SENTENCES = {
    "en": "The insula is a part of the cortex.",
    "de": "Heute scheint in München endlich wieder die Sonne.",
    "es": "Mañana vamos a la playa con los niños.",
    "pl": "Zażółć gęślą jaźń, powiedział stary poeta.",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a machine's first run installs five environments


@pytest.fixture
def api(stack: Stack) -> HttpApi:
    assert stack.state("language-identifier") == ("ready", "")
    return HttpApi(f"{stack.public}/language-identifier")


@pytest.mark.parametrize("language", SENTENCES)
def test_text_is_recognised(api: HttpApi, language: str) -> None:
    workload = api.run(SENTENCES[language].encode(), "text/plain; charset=utf-8")
    assert workload["status"] == "completed"
    assert workload["result"]["language"] == language
    assert 0.9 < workload["result"]["confidence"] <= 1


@pytest.mark.parametrize("language", SENTENCES)
def test_json_is_recognised(api: HttpApi, language: str) -> None:
    """Letters beyond ASCII may be sent as UTF-8 or as escapes of JSON."""
    for ascii_only in (False, True):
        body = json.dumps({"text": SENTENCES[language]}, ensure_ascii=ascii_only)
        assert api.run(body.encode(), "application/json")["result"]["language"] == language


def test_another_charset_gives_the_same_text(api: HttpApi) -> None:
    sentence = SENTENCES["pl"]
    in_utf_8 = api.run(sentence.encode(), "text/plain")["result"]
    assert api.run(sentence.encode("iso-8859-2"), "text/plain; charset=iso-8859-2")["result"] == in_utf_8


@pytest.mark.parametrize("sample", sorted((LANGUAGES / "samples").iterdir()), ids=lambda path: path.name)
def test_each_sample_has_the_language_in_its_name(api: HttpApi, sample: Path) -> None:
    content_type = "application/json" if sample.suffix == ".json" else "text/plain"
    language = {"english": "en", "german": "de", "polish": "pl"}[sample.stem]
    assert api.run(sample.read_bytes(), content_type)["result"]["language"] == language


@pytest.mark.parametrize("body", [b'{"txt": "Guten Tag"}', b"[1, 2]", b'{"text": ""}'])
def test_a_payload_without_text_fails_with_advice(api: HttpApi, body: bytes) -> None:
    workload = api.run(body, "application/json")
    assert workload["status"] == "failed"
    assert "send a text, as text/plain or as JSON" in json.dumps(workload["error"])
