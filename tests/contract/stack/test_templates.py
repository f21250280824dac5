"""A project that `insula init` writes runs unchanged, and the curl command that it prints gets a result."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from typing import Any

import pytest

from insula.cli.connection import URL_DEFAULT
from insula.cli.init import Template
from tests.contract.stack.conftest import Started
from tests.http_api import HttpApi
from tests.stack import Stack


def answer(stack: Stack, started: Started) -> dict[str, Any]:
    """Run the printed command against this stack, and wait for the result."""
    command = started.curl.replace(URL_DEFAULT, stack.public)
    done = subprocess.run([*shlex.split(command), "--silent"], capture_output=True, text=True, timeout=60, check=True)
    url = next(word for word in shlex.split(command) if word.startswith(stack.public))
    ended = HttpApi(url).end(json.loads(done.stdout)["id"])
    assert ended["status"] == "completed", ended
    result: dict[str, Any] = ended["result"]
    return result


@pytest.mark.parametrize("template", Template)
def test_a_project_of_each_template_returns_the_result_for_its_sample(
    stack: Stack, started: dict[Template, Started], template: Template
) -> None:
    result = answer(stack, started[template])
    match template:
        case Template.IRIS:
            assert result["species"] == "virginica"
        case Template.IMAGE:
            assert (result["width"], result["height"]) == (128, 85)
            assert base64.b64decode(result["jpeg"]).startswith(b"\xff\xd8")
        case Template.ASYNC:
            assert result["http://api-url-checker:8888/healthz"] == {"status": 200}
