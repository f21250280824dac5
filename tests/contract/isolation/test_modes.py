"""The modes of `insula up --isolation`, also on a kernel that allows no namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from tests import no_namespaces
from tests.addresses import free_addresses
from tests.http_api import HttpApi
from tests.modes import Mode
from tests.ordinary_user import ROOT
from tests.stack import Stack, running_stack

PROJECT = ROOT / "tests" / "projects" / "isolation"


def run(stack: Stack, code: str) -> object:
    answer = HttpApi(f"{stack.public}/attacker").run(json.dumps(code).encode(), "application/json")
    assert answer["status"] == "completed", answer
    return answer["result"]["found"]


def test_required_fails_without_namespaces_and_the_error_names_what_is_missing(tmp_path: Path) -> None:
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
def test_an_unknown_mode_is_refused(isolation: str) -> None:
    up = [sys.executable, "-m", "insula.cli.main", "up", str(PROJECT), "--isolation", isolation]
    ended = subprocess.run(up, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "auto" in ended.stderr


async def test_auto_works_without_namespaces_and_prints_one_warning(tmp_path: Path) -> None:
    """A handler of root still loses its capabilities. CORTEX_PROJECT_DIR is the real path of the project."""
    code = """
import os
status = open("/proc/self/status").read()
effective = int(status.split("CapEff:")[1].split()[0], 16)
found = [bool(effective >> bit & 1) for bit in (16, 17, 19, 21, 27)], os.environ["CORTEX_PROJECT_DIR"] == os.getcwd()
"""
    with (tmp_path / "said").open("wb") as said:
        async with running_stack([PROJECT], data=tmp_path / "data", stderr=said, mode=Mode.NO_NAMESPACES) as stack:
            assert run(stack, code) == [[False] * 5, True]
    lines = (tmp_path / "said").read_text().splitlines()
    isolation = [line for line in lines if "isolation incomplete" in line]
    assert len(isolation) == 1
    assert isolation[0].startswith("insula up: handler isolation incomplete: no namespace can be made (bwrap: ")
    stores = [line for line in lines if "delete payloads" in line]
    assert len(stores) == 1
    assert stores[0].startswith(
        "  any user of this machine can delete payloads: there is no network namespace (bwrap: "
    )


@pytest.fixture
def marker() -> Iterator[Path]:
    """Return a file in the machine's /tmp."""
    with NamedTemporaryFile(dir="/tmp") as file:
        yield Path(file.name)


@pytest.mark.parametrize(
    ("refused", "said", "seen"),
    [
        ("processes", "no process namespace (Operation not permitted)", {"machine": True, "layer": True}),
        ("layers", "no writable layers in ", {"machine": False, "layer": False}),
    ],
)
async def test_one_missing_kernel_feature_is_named_and_all_others_are_used(
    refused: str, said: str, seen: dict[str, bool], marker: Path, tmp_path: Path
) -> None:
    code = f"""
import os, sys
mounts = [line.split() for line in open("/proc/self/mountinfo")]
found = {{
    "machine": os.path.exists("/proc/{os.getpid()}"),
    "layer": any(mount[4] == sys.prefix and "overlay" in mount for mount in mounts),
    "own /tmp": not os.path.exists({str(marker)!r}),
    "hidden": not os.path.exists({str(tmp_path / "data" / "keys.json")!r}),
    "project": os.environ["CORTEX_PROJECT_DIR"] == "/mnt/project" and os.path.samefile("/mnt/project", os.getcwd()),
}}
"""
    inside = [sys.executable, no_namespaces.__file__, refused]
    with (tmp_path / "said").open("wb") as out:
        async with running_stack(
            [PROJECT], data=tmp_path / "data", stderr=out, mode=Mode.ISOLATED, inside=inside
        ) as stack:
            assert run(stack, code) == {"own /tmp": True, "hidden": True, "project": True, **seen}
            stack.kill("runner")  # its end is still reported, and it is started again
            assert run(stack, code) == {"own /tmp": True, "hidden": True, "project": True, **seen}
    [line] = [line for line in (tmp_path / "said").read_text().splitlines() if "isolation incomplete" in line]
    assert line.startswith(f"insula up: handler isolation incomplete: {said}")
    assert line.count(" no ") == 1


async def test_with_off_a_handler_sees_the_machines_files(tmp_path: Path) -> None:
    async with running_stack([PROJECT], data=tmp_path / "data", mode=Mode.OFF) as stack:
        assert run(stack, f"import os; found = os.path.exists({str(tmp_path / 'data' / 'keys.json')!r})") is True
