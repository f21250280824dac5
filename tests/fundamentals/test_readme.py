"""README's session, run as printed: each command gives what README shows, but for ids, times and a last digit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fundamentals.conftest import ROOT
from tests.stack import Stack

BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"(0\.\d{2})\d+|1\.0"), r"<probability>"),
)


def commands() -> list[tuple[str, str]]:
    """Each command of README's console blocks, and what README prints below it."""
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall((ROOT / "README.md").read_text()):
        for part in block.removeprefix("$ ").split("\n$ "):
            command, _, output = part.partition("\n")
            found.append((command, output.strip()))
    return found


def settled(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


@pytest.mark.slow
def test_readme_session(stack: Stack) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    id = ""
    environment = {**os.environ, "PATH": path, "INSULA_URL": stack.public}
    for printed, expected in commands():
        command = printed.replace("http://127.0.0.1:8080", stack.public).replace(
            "127.0.0.1:8080", stack.public.removeprefix("http://")
        )
        if id:
            command = VARYING[0][0].sub(id, command)
        done = subprocess.run(
            command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert settled(done.stdout.strip()) == settled(expected), f"$ {command}\n{done.stdout}{done.stderr}"
        posted = VARYING[0][0].search(done.stdout)
        id = posted.group() if posted else id
        if posted and "status" not in done.stdout:
            stack.wait_for_status("language-identifier", id, "completed")
