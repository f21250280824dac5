"""The commands that Cortex' users know, against a running stack."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until_blocking

HANDLER = """
class Handler:
    def handle_async(self, payload):
        print("saw", payload)
        return {"version": 1}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    entry = "- {name: commanded, kind: AsyncAPI, handler: {type: python, path: handler.py}}\n"
    (folder / "cortex.yaml").write_text(entry)
    (folder / "handler.py").write_text(HANDLER)
    return folder


@pytest.fixture
async def stack(project: Path, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack([project], data=tmp_path / ".insula") as running:
        yield running


def insula(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insula.cli.main", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_deploy_get_describe_logs_refresh_and_delete(stack: Stack, project: Path, tmp_path: Path) -> None:
    """Found without any option, because the stack keeps its data in this directory's .insula."""
    (project / "handler.py").write_text(HANDLER.replace("1}", "2}"))
    deployed = insula(tmp_path, "deploy", str(project))
    assert (deployed.returncode, deployed.stdout) == (0, "commanded ready\n"), deployed.stderr
    answer = HttpApi(f"{stack.public}/commanded").run(b'"this"', "application/json")
    assert answer["result"] == {"version": 2}

    [listed] = json.loads(insula(tmp_path, "get", "-o", "json").stdout)
    assert (listed["state"], listed["version"]) == ("ready", listed["active_version"])
    table = insula(tmp_path, "get").stdout.splitlines()
    assert table[1].split()[:4] == ["commanded", "/commanded", "ready", "1/1"]
    described = json.loads(insula(tmp_path, "describe", "commanded").stdout)
    assert described["spec"]["handler"]["path"] == "handler.py"

    lines = [json.loads(line) for line in insula(tmp_path, "logs", "commanded").stdout.splitlines()]
    assert [line["id"] for line in lines if line["message"] == "saw this"] == [answer["id"]]
    of_one = insula(tmp_path, "logs", "commanded", "--workload", answer["id"]).stdout.splitlines()
    assert {json.loads(line)["id"] for line in of_one} == {answer["id"]}

    assert insula(tmp_path, "refresh", "commanded").stdout == "commanded is being refreshed\n"
    deleted = insula(tmp_path, "delete", "commanded")
    assert deleted.stdout == "commanded is deleted; waiting workloads cancelled: 0\n"
    gone = insula(tmp_path, "get", "commanded")
    assert gone.returncode == 1
    assert "there is no API at 'commanded'" in gone.stderr


def test_a_version_that_is_replaced_before_it_is_ready_is_told(stack: Stack, project: Path, tmp_path: Path) -> None:
    """It never served: whoever deployed it has to know."""
    waiting = f"import os\nwhile not os.path.exists({str(tmp_path / 'gate')!r}): pass\n"
    (project / "handler.py").write_text(waiting + HANDLER)
    command = [sys.executable, "-m", "insula.cli.main", "deploy", str(project)]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_blocking(lambda: stack.api("commanded").state == "pending")
    (project / "handler.py").write_text(HANDLER.replace("1}", "2}"))
    assert insula(tmp_path, "deploy", str(project)).returncode == 0
    said, why = first.communicate(timeout=60)
    assert (first.returncode, said) == (1, "commanded replaced\n")
    assert f"somebody deployed version {stack.api('commanded').version[:12]} before" in why


def test_a_version_that_fails_is_told_with_its_reason(stack: Stack, project: Path, tmp_path: Path) -> None:
    (project / "handler.py").write_text("import nowhere_to_be_found\n" + HANDLER)
    failed = insula(tmp_path, "deploy", str(project))
    assert (failed.returncode, failed.stdout) == (1, "commanded failing\n")
    assert "nowhere_to_be_found" in failed.stderr
    assert "nowhere_to_be_found" in insula(tmp_path, "get").stdout
    answer = HttpApi(f"{stack.public}/commanded").run(b"1", "application/json")
    assert answer["result"] == {"version": 1}, "the version before serves on"


def test_without_a_stack_the_way_out_is_told(project: Path, tmp_path: Path) -> None:
    for words in (["get"], ["deploy", str(project)], ["logs", "x"]):
        alone = insula(tmp_path, *words)
        assert alone.returncode == 2
        assert "insula up" in alone.stderr
        assert "Traceback" not in alone.stderr


def test_logs_that_break_off_are_no_success(stack: Stack, tmp_path: Path) -> None:
    """Whoever follows them in a script has to see that the worker was lost."""
    command = [sys.executable, "-m", "insula.cli.main", "logs", "commanded", "--follow"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("{")
        stack.kill("worker")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "does not tell" in said


def test_get_watch_shows_the_apis_again_and_again(stack: Stack, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "insula.cli.main", "get", "--watch", "-o", "json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert [[api["name"] for api in look] for look in looks] == [["commanded"]] * 2
    assert process.returncode != 0
    assert "Traceback" not in said
