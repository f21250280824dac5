"""The commands of Cortex' command line, against a running stack."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until_blocking

HANDLER = """
class Handler:
    def handle_async(self, payload):
        print("saw", payload)
        return {"version": 1}
"""
_numbers = itertools.count()


def once_there(path: Path) -> str:
    """Return code that waits until the file exists."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.05)\n"


def write(folder: Path, *names: str) -> Path:
    folder.mkdir()
    entry = "- {{name: {name}, kind: AsyncAPI, handler: {{type: python, path: {name}.py}}}}\n"
    (folder / "cortex.yaml").write_text("".join(entry.format(name=name) for name in names))
    for name in names:
        (folder / f"{name}.py").write_text(HANDLER)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("here")
    async with running_stack([write(folder / "project", "resident")], data=folder / ".insula") as running:
        yield running


@dataclass(frozen=True)
class Deployed:
    """One API on the shared stack, and its project. Commands run in the directory of the stack."""

    stack: Stack
    project: Path
    name: str

    def write(self, handler: str) -> None:
        (self.project / f"{self.name}.py").write_text(handler)

    def run(self) -> dict[str, object]:
        return HttpApi(f"{self.stack.public}/{self.name}").run(b'"this"', "application/json")

    @property
    def here(self) -> Path:
        return Path(self.stack.info["data"]).parent

    def insula(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return insula(self.here, *words, **environment)


@pytest.fixture
def resident(stack: Stack) -> Deployed:
    """The API that all tests share. A test leaves it as it is."""
    return Deployed(stack, Path(stack.info["data"]).parent / "project", "resident")


@pytest.fixture
def deployed(stack: Stack, tmp_path: Path) -> Deployed:
    name = f"commanded-{next(_numbers)}"
    found = Deployed(stack, write(tmp_path / "project", name), name)
    done = found.insula("deploy", str(found.project))
    assert (done.returncode, done.stdout) == (0, f"{name} ready\n"), done.stderr
    return found


LATIN_1 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}
"""The variables of a locale without UTF-8."""


def insula(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insula.cli.main", *words]
    variables = os.environ | environment
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


def test_deploy_get_describe_logs_refresh_and_delete(deployed: Deployed) -> None:
    """The commands need no option: they find the stack by .insula in the current directory."""
    name, insula = deployed.name, deployed.insula
    deployed.write(HANDLER.replace("1}", "2}"))
    again = insula("deploy", str(deployed.project))
    assert (again.returncode, again.stdout) == (0, f"{name} ready\n"), again.stderr
    assert "unchanged" not in again.stderr
    answer = deployed.run()
    assert answer["result"] == {"version": 2}

    listed = next(api for api in json.loads(insula("get", "-o", "json").stdout) if api["name"] == name)
    assert (listed["state"], listed["version"]) == ("ready", listed["active_version"])
    table = insula("get").stdout.splitlines()
    assert [name, f"/{name}", "ready", "1/1"] in [line.split()[:4] for line in table]
    described = json.loads(insula("describe", name).stdout)
    assert described["spec"]["handler"]["path"] == f"{name}.py"

    lines = [json.loads(line) for line in insula("logs", name).stdout.splitlines()]
    assert [line["id"] for line in lines if line["message"] == "saw this"] == [answer["id"]]
    of_one = insula("logs", name, "--workload", str(answer["id"])).stdout.splitlines()
    assert {json.loads(line)["id"] for line in of_one} == {answer["id"]}

    assert insula("refresh", name).stdout == f"{name} refreshed\n"
    deleted = insula("delete", name)
    assert deleted.stdout == f"{name} is deleted; waiting workloads cancelled: 0\n"
    gone = insula("get", name)
    assert gone.returncode == 1
    assert f"there is no API at '{name}'" in gone.stderr


def test_every_command_finds_the_stack_of_a_data_directory(deployed: Deployed, tmp_path: Path) -> None:
    """`--data` works in any directory."""
    name, where = deployed.name, ["--data", str(deployed.here / ".insula")]
    submitted = insula(tmp_path, "submit", name, "--json", "1", "--wait", *where)
    assert (submitted.returncode, submitted.stdout) == (0, '{"version": 1}\n'), submitted.stderr
    id = submitted.stderr.split()[0]
    assert insula(tmp_path, "result", name, id, *where).stdout == '{"version": 1}\n'
    assert deployed.insula("result", name, id).stdout == '{"version": 1}\n'
    for words in (["get", name], ["describe", name], ["logs", name], ["refresh", name], ["delete", name]):
        done = insula(tmp_path, *words, *where)
        assert (done.returncode, name in done.stdout) == (0, True), (words, done.stderr)
    assert insula(tmp_path, "deploy", str(deployed.project), *where).returncode == 0


def test_deploy_skips_unchanged_apis_and_starts_the_others_at_once(stack: Stack, tmp_path: Path) -> None:
    """The first two APIs wait for a file each. The file of the second is written first."""
    names = [f"{kind}-{next(_numbers)}" for kind in ("first", "second", "third")]
    project = write(tmp_path / "project", *names)
    here = Path(stack.info["data"]).parent
    assert insula(here, "deploy", str(project)).returncode == 0
    text = (project / "cortex.yaml").read_text()
    for name in names[:2]:
        (project / f"{name}.py").write_text(once_there(tmp_path / name) + HANDLER)
    (project / "cortex.yaml").write_text(text.replace(f"{names[2]}.py", f"{names[2]}.py, config: {{a: 1}}"))
    command = [sys.executable, "-u", "-m", "insula.cli.main", "deploy", str(project)]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{names[2]} ready\n"
        (tmp_path / names[1]).touch()
        assert process.stdout.readline() == f"{names[1]} ready\n"
        (tmp_path / names[0]).touch()
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, f"{names[0]} ready\n")
    assert f"{names[0]}: starting" in errors
    (project / "cortex.yaml").write_text(text)
    taken = write(tmp_path / "taken", "clashing")
    (taken / "cortex.yaml").write_text(
        (taken / "cortex.yaml").read_text().replace("clashing,", "clashing, networking: {endpoint: resident},")
    )
    refused = insula(here, "deploy", str(taken))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("insula: clashing: the API was not deployed: the endpoint /resident")
    again = insula(here, "deploy", str(project))
    assert [line.endswith(", unchanged") for line in again.stderr.splitlines()][:3] == [True, True, False]


def test_deploy_reports_that_its_version_was_replaced_before_it_was_ready(deployed: Deployed, tmp_path: Path) -> None:
    """`insula deploy` exits with 1, because the version never served."""
    deployed.write(once_there(tmp_path / "gate") + HANDLER)
    command = [sys.executable, "-m", "insula.cli.main", "deploy", str(deployed.project)]
    first = subprocess.Popen(command, cwd=deployed.here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_blocking(lambda: deployed.stack.api(deployed.name).state == "pending")
    deployed.write(HANDLER.replace("1}", "2}"))
    assert deployed.insula("deploy", str(deployed.project)).returncode == 0
    output, errors = first.communicate(timeout=60)
    assert (first.returncode, output) == (1, f"{deployed.name} replaced\n")
    assert f"version {deployed.stack.api(deployed.name).version[:12]} was deployed before" in errors


def test_deploy_and_get_print_why_a_version_fails_and_which_version_serves(deployed: Deployed) -> None:
    before = deployed.stack.api(deployed.name).version
    deployed.write("raise ImportError('nowhere_to_be_found ✓')\n" + HANDLER)
    failed = deployed.insula("deploy", str(deployed.project))
    assert (failed.returncode, failed.stdout) == (1, f"{deployed.name} failing\n")
    assert "nowhere_to_be_found" in failed.stderr
    for environment in ({}, LATIN_1):
        output = deployed.insula("get", deployed.name, **environment).stdout
        assert f"{deployed.name} is failing; version {before[:12]} still serves: " in output
        assert "nowhere_to_be_found ✓" in output
    assert deployed.run()["result"] == {"version": 1}


def test_refresh_and_get_print_why_the_new_process_fails(deployed: Deployed, tmp_path: Path) -> None:
    """The old process still serves. The worker starts the new one again until it is ready."""
    deployed.write(f"import os\nassert not os.path.exists({str(tmp_path / 'closed')!r}), 'no model'\n" + HANDLER)
    assert deployed.insula("deploy", str(deployed.project)).returncode == 0
    (tmp_path / "closed").touch()
    failed = deployed.insula("refresh", deployed.name)
    assert (failed.returncode, failed.stdout) == (1, f"{deployed.name} failing\n")
    assert "no model" in failed.stderr
    assert "the old one still serves" in failed.stderr
    output = deployed.insula("get", deployed.name).stdout
    assert f"{deployed.name} is ready, but a new process of it is failing; the old one still serves: " in output
    assert deployed.run()["result"] == {"version": 1}
    (tmp_path / "closed").unlink()
    until_blocking(lambda: "new process" not in deployed.insula("get", deployed.name).stdout)


def test_without_a_stack_each_command_names_insula_up(tmp_path: Path) -> None:
    project = write(tmp_path / "project", "alone")
    for words in (["get"], ["deploy", str(project)], ["logs", "x"], ["submit", "x", "--json", "1", "--data", "x"]):
        alone = insula(tmp_path, *words)
        assert alone.returncode == 2
        assert "insula up" in alone.stderr
        assert "Traceback" not in alone.stderr


def test_followed_logs_include_workers_that_start_later(stack: Stack, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "insula.cli.main", "logs", "--follow"]
    here = Path(stack.info["data"]).parent
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("{")
            later = write(tmp_path / "project", "later")
            assert insula(here, "deploy", str(later)).returncode == 0
            found = (json.loads(line)["labels"]["apiName"] for line in process.stdout)
            assert "later" in found, "lines of other APIs may come first"
        finally:
            process.terminate()


def test_logs_exits_with_1_when_its_worker_dies(stack: Stack) -> None:
    """A script that follows the logs can detect the loss of the worker."""
    command = [sys.executable, "-m", "insula.cli.main", "logs", "resident", "--follow"]
    here = Path(stack.info["data"]).parent
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("{")
        stack.kill("worker", "resident")
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is unavailable" in errors


def test_logs_prints_the_lines_of_all_apis_in_the_order_of_their_times(deployed: Deployed) -> None:
    deployed.run()
    lines = [json.loads(line) for line in deployed.insula("logs").stdout.splitlines()]
    assert {"resident", deployed.name} <= {line["labels"]["apiName"] for line in lines}
    times = [line["asctime"] for line in lines]
    assert times == sorted(times)


def test_logs_prints_lines_of_text(resident: Deployed) -> None:
    """A line has the time, the level, the API, the message and the workload. It is the default on a terminal."""
    id = resident.run()["id"]
    lines = resident.insula("logs", "resident", "--log", "plain").stdout.splitlines()
    found = next(line for line in lines if line.endswith(f" {id}") and "saw this" in line)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d INFO    resident saw this {id}", found)


def test_get_counts_the_workloads_of_an_api(deployed: Deployed) -> None:
    deployed.run()
    counts = {"in_queue": 0, "in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0}
    assert json.loads(deployed.insula("get", deployed.name, "-o", "json").stdout)["workloads"] == counts


def test_get_watch_prints_a_line_for_each_change(deployed: Deployed) -> None:
    command = [sys.executable, "-u", "-m", "insula.cli.main", "get", deployed.name, "--watch"]
    with subprocess.Popen(command, cwd=deployed.here, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(
            f" {deployed.name} ready, queued 0, running 0, failed 0, rate 0.0/s\n"
        )
        deployed.write(HANDLER.replace("return", "raise ValueError; return"))
        assert deployed.insula("deploy", str(deployed.project)).returncode == 0
        deployed.run()
        line = ""
        while "failed 1" not in line:
            line = process.stdout.readline()
            assert line
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0


def test_bash_completes_the_names_of_deployed_apis(resident: Deployed) -> None:
    """The names come from the stack that `--data` names, otherwise from the stack of the current directory."""
    for line in ("insula logs reside", f"insula get --data {resident.here}/.insula reside"):
        words = {"_INSULA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        program, variables = Path(sys.executable).with_name("insula"), os.environ | words
        done = subprocess.run([program], cwd=resident.here, env=variables, capture_output=True, text=True, check=False)
        assert "resident" in done.stdout.split(), done.stderr


def test_get_watch_as_json_prints_all_apis_repeatedly(stack: Stack) -> None:
    command = [sys.executable, "-u", "-m", "insula.cli.main", "get", "--watch", "-o", "json"]
    here = Path(stack.info["data"]).parent
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert all("resident" in [api["name"] for api in look] for look in looks)
    assert process.returncode != 0
    assert "Traceback" not in errors
