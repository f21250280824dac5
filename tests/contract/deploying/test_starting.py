"""The commands while `insula up` still starts, and after it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from insula.data_directory import stack_file
from insula.rpc.admin_client import AdminClient
from insula.v1.api_service_pb2 import Api
from tests.addresses import free_addresses
from tests.contract.deploying.test_commands import HANDLER, insula, once_there, write
from tests.stack import READY_S
from tests.waiting import until_blocking


@dataclass(frozen=True)
class Starting:
    """An `insula up` that waits for two files: `installed` in dependencies.sh, then `loaded` in the handler."""

    process: subprocess.Popen[bytes]
    here: Path
    installed: Path
    loaded: Path
    stderr: Path

    def wait_for(self, condition: Callable[[Api], bool]) -> None:
        """Return once the API `slow` fulfils the condition."""
        address = json.loads(stack_file(self.here / ".insula").read_text())["admin"]
        with AdminClient.at(address) as client:
            until_blocking(lambda: condition(client.api("slow")), within_s=READY_S)


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Starting]:
    project, installed, loaded = write(tmp_path / "project", "slow"), tmp_path / "installed", tmp_path / "loaded"
    (project / "dependencies.sh").write_text(f"echo a gigabyte; until [ -e '{installed}' ]; do sleep 0.05; done\n")
    (project / "slow.py").write_text("print('a model', flush=True)\n" + once_there(loaded) + HANDLER)
    port, address = free_addresses()
    where = ["--public-port", str(port), "--internal-address", address]
    command = [sys.executable, "-m", "insula.cli.main", "up", str(project), "--yes", *where]
    with (
        (tmp_path / "stderr").open("wb") as stderr,
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        try:
            until_blocking(lambda: stack_file(tmp_path / ".insula").exists() or process.poll() is not None)
            yield Starting(process, tmp_path, installed, loaded, tmp_path / "stderr")
        finally:
            process.kill()


@pytest.mark.slow
def test_commands_work_while_the_stack_starts(starting: Starting) -> None:
    here = starting.here
    first = insula(here, "get", "-o", "json")  # the services do not listen yet, so the command waits
    assert first.returncode == 0, first.stderr
    until_blocking(lambda: "installing: a gigabyte" in starting.stderr.read_text(), within_s=READY_S)
    assert "slow is installing: a gigabyte" in insula(here, "get").stdout
    assert "dependencies.sh" in insula(here, "logs", "slow").stdout
    starting.installed.touch()
    starting.wait_for(lambda api: [worker.phase for worker in api.workers] == ["starting"])
    assert "slow is starting" in insula(here, "get").stdout
    described = json.loads(insula(here, "describe", "slow").stdout)
    assert (described["state"], described["workers"][0]["phase"]) == ("pending", "starting")
    until_blocking(lambda: "a model" in starting.stderr.read_text(), within_s=READY_S)
    assert "a model" in insula(here, "logs", "slow").stdout
    done = insula(here, "deploy", str(write(here / "another", "quick")))
    assert (done.returncode, done.stdout) == (0, "quick ready\n"), done.stderr
    assert starting.process.poll() is None
    starting.loaded.touch()
    starting.wait_for(lambda api: api.state == "ready")
    assert json.loads(insula(here, "describe", "slow").stdout)["state"] == "ready"

    starting.process.kill()
    starting.process.wait()
    gone = insula(here, "get")
    assert gone.returncode == 2
    assert gone.stderr.startswith("insula: no running Insula found: the last one started there does not answer")
