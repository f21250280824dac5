"""Runs the console sessions of README and docs/. The output is as printed, except ids, times and a last digit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fundamentals.blocks import BLOCKS
from tests.stack import Stack

VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"(0\.\d{2})\d+|1\.0"), r"<probability>"),
    (re.compile(r"/9j/[\w+/=…]*"), "<jpeg>"),  # base64; pages show its beginning
)
ID = VARYING[0][0]
PRINTED_ADDRESS = "127.0.0.1:8080"
END_OF_BLOCK = "-- the next block --"
SESSIONS = sorted({block.page for block in BLOCKS if block.language == "console"})
PROGRAMS = sorted({block.page for block in BLOCKS if block.language == "python" and not block.is_handler})


def commands(page: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the page's console blocks with its printed output."""
    for block in (block for block in BLOCKS if (block.page, block.language) == (page, "console")):
        for part in block.text.removeprefix("$ ").split("\n$ "):
            command, _, output = part.partition("\n")
            yield command, output.strip()


def settled(text: str) -> str:
    """Return the text without the parts that differ between runs."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


def at_home(text: str, stack: Stack) -> str:
    """The text with the stack's address in place of the one that pages use."""
    return text.replace(PRINTED_ADDRESS, stack.public.removeprefix("http://"))


@pytest.mark.slow
@pytest.mark.parametrize("page", SESSIONS)
def test_a_session_gives_what_the_page_shows(page: str, stack: Stack, tmp_path: Path) -> None:
    """One command after the other in an empty folder; the id that one printed is that of the next ones."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "INSULA_URL": stack.public, "INSULA_ADMIN": stack.info["admin"]}
    names, id = [api["name"] for api in stack.info["apis"]], ""
    steps = list(commands(page))
    for (printed, expected), (_, next_expected) in zip(steps, [*steps[1:], ("", "")], strict=True):
        command = ID.sub(id, at_home(printed, stack)) if id else at_home(printed, stack)
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert settled(done.stdout.strip()) == settled(expected), f"$ {command}\n{done.stdout}{done.stderr}"
        if (posted := ID.search(done.stdout)) and "status" not in done.stdout:
            id = posted.group()
            status = "failed" if '"failed"' in next_expected else "completed"
            stack.wait_for_status(next(name for name in names if name in command), id, status)


@pytest.mark.slow
@pytest.mark.parametrize("page", PROGRAMS)
def test_a_program_prints_what_the_page_shows(page: str, stack: Stack) -> None:
    """The Python blocks of a page are one program: later blocks use names of earlier ones."""
    blocks = [block for block in BLOCKS if (block.page, block.language) == (page, "python") and not block.is_handler]
    program = at_home("".join(f"{block.text}print({END_OF_BLOCK!r})\n" for block in blocks), stack)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for block, output in zip(blocks, done.stdout.split(f"{END_OF_BLOCK}\n"), strict=False):
        assert settled(output) == settled(block.output or ""), block.text
