"""The backup of k8s/RUNBOOK.md, taken from a running Redis, and restored beside the same S3."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from insula.v1.workload_pb2 import Workload
from tests.contract.operations.conftest import PROJECT
from tests.runbook import block
from tests.services import Service, deploy, read_workload, services, submit_workload
from tests.valkey import Valkey, running_valkey
from tests.waiting import until_blocking

LARGE = "y" * 40_000  # goes through S3
CLI = """#!{python}
import sys
from redis import Redis

connection = Redis.from_url("{url}").connection_pool.get_connection()
connection.send_command(*sys.argv[1:])
print(connection.read_response().decode())
"""
"""Takes the place of valkey-cli, which the wheel of Valkey does not have."""


def test_a_backup_of_the_aof_has_every_workload_that_was_accepted_before_it(
    s3_env: dict[str, str], tmp_path: Path
) -> None:
    """Workloads that had not ended then run again. Later ones are unknown, as the runbook says.

    The API `later` has no worker until after the restore.
    """

    def submit(service: Service, api: str = "rolling", **payload: object) -> str:
        return submit_workload(service, api, json.dumps({"runs": str(tmp_path / "runs")} | payload).encode())

    (tmp_path / "first").mkdir()
    with (
        running_valkey(tmp_path / "first") as valkey,
        services(tmp_path / "before", s3_env | {"INSULA_REDIS_URL": valkey.url}) as before,
    ):
        accepting, reading = before.submit("submit"), before.results("results")
        deploy(PROJECT, accepting)
        worker = before.worker("rolling", "worker-1")
        ended = [end_of(reading, submit(accepting, number=number, result=number * 4000)) for number in range(3)]
        assert worker.stop() == 0
        small, large = submit(accepting, number=3), submit(accepting, number=4, filler=LARGE)
        waiting = submit(accepting, "later", number=5), submit(accepting, "later", number=6, filler=LARGE)
        copy = back_up(valkey, tmp_path)
        before.worker("rolling", "worker-2")
        assert [end_of(reading, id).status for id in (small, large)] == ["completed", "completed"]
        unknown = submit(accepting, number=7)

    (tmp_path / "second").mkdir()
    shutil.copytree(copy, tmp_path / "second" / "appendonlydir")
    with (
        running_valkey(tmp_path / "second") as valkey,
        services(tmp_path / "after", s3_env | {"INSULA_REDIS_URL": valkey.url}) as after,
    ):
        accepting, reading = after.submit("submit"), after.results("results")
        assert [read_workload(reading, "rolling", one.id) for one in ended] == ended
        for api in ("rolling", "later"):
            after.worker(api, f"worker-{api}")
        assert end_of(reading, small).status == "completed"
        assert end_of(reading, large).failure.reason == "PAYLOAD_MISSING", "its payload was deleted with its end"
        assert [end_of(reading, id, "later").status for id in waiting] == ["completed", "completed"]
        with pytest.raises(grpc.RpcError, match="there is no workload"):
            read_workload(reading, "rolling", unknown)
        assert end_of(reading, submit(accepting, number=8)).status == "completed"
    runs = (tmp_path / "runs").read_text().split()
    assert [runs.count(id) for id in (small, large, *waiting)] == [2, 1, 1, 1]


def back_up(valkey: Valkey, folder: Path) -> Path:
    """Run the commands of the runbook in the folder of Redis' data. Return a copy of the backup."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "valkey-cli").write_text(CLI.format(python=sys.executable, url=valkey.url))
    (programs / "valkey-cli").chmod(0o755)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    commands = f"set -e\ncd {shlex.quote(str(valkey.folder))}\n{block('Back up Redis')}"
    subprocess.run(["sh", "-c", commands], env=os.environ | path, check=True, timeout=60)
    shutil.copytree(valkey.folder / "backup", folder / "copy")
    return folder / "copy"


def end_of(results: Service, id: str, api: str = "rolling") -> Workload:
    """Wait until the workload has ended. Return it."""

    def ended() -> Workload | None:
        found = read_workload(results, api, id)
        return found if found.status in ("completed", "failed") else None

    found = until_blocking(ended, shown=lambda: read_workload(results, api, id))
    assert found is not None
    return found
