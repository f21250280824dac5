"""`insula up --isolation`, and what it says on a kernel that grants no namespaces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import no_namespaces
from tests.http_api import HttpApi
from tests.modes import Mode
from tests.ordinary_user import ROOT
from tests.stack import Stack, free_addresses, running_stack

PROJECT = ROOT / "tests" / "projects" / "isolation"


def run(stack: Stack, code: str) -> object:
    answer = HttpApi(f"{stack.public}/attacker").run(json.dumps(code).encode(), "application/json")
    assert answer["status"] == "completed", answer
    return answer["result"]["found"]


def test_required_is_refused_where_namespaces_are_and_says_what_is_missing(tmp_path: Path) -> None:
    port, address = free_addresses()
    where = ["--data", str(tmp_path), "--public-port", str(port), "--internal-address", address]
    up = [sys.executable, "-m", "insula.cli.main", "up", str(PROJECT), *where, "--isolation", "required"]
    ended = subprocess.run(
        [sys.executable, no_namespaces.__file__, *up], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("insula up: --isolation required is refused: handlers cannot be isolated")
    assert "no namespace can be made (bwrap: " in ended.stderr
    assert "--isolation auto" in ended.stderr


@pytest.mark.parametrize("isolation", ["on", "none", ""])
def test_another_word_is_refused(isolation: str) -> None:
    up = [sys.executable, "-m", "insula.cli.main", "up", str(PROJECT), "--isolation", isolation]
    ended = subprocess.run(up, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "auto" in ended.stderr


async def test_auto_runs_everything_without_namespaces_and_says_so_in_one_line(tmp_path: Path) -> None:
    """Root's handler still loses its capabilities, and finds its project where it is."""
    code = """
import os
status = open("/proc/self/status").read()
effective = int(status.split("CapEff:")[1].split()[0], 16)
found = [bool(effective >> bit & 1) for bit in (16, 17, 19, 21, 27)], os.environ["CORTEX_PROJECT_DIR"] == os.getcwd()
"""
    with (tmp_path / "said").open("wb") as said:
        async with running_stack([PROJECT], data=tmp_path / "data", said=said, mode=Mode.NO_NAMESPACES) as stack:
            assert run(stack, code) == [[False] * 5, True]
    lines = (tmp_path / "said").read_text().splitlines()
    isolation = [line for line in lines if "isolated" in line]
    assert len(isolation) == 1
    assert isolation[0].startswith("insula up: handlers are not isolated completely: no namespace can be made (bwrap: ")
    stores = [line for line in lines if "delete payloads" in line]
    assert len(stores) == 1
    assert stores[0].startswith(
        "  any user of this machine can delete payloads: there is no network namespace (bwrap: "
    )


async def test_off_leaves_handlers_the_machine(tmp_path: Path) -> None:
    async with running_stack([PROJECT], data=tmp_path / "data", mode=Mode.OFF) as stack:
        assert run(stack, f"import os; found = os.path.exists({str(tmp_path / 'data' / 'keys.json')!r})") is True
