"""I12: an outage of Redis fails the readiness, never the liveness. A worker whose poll loop is stuck is restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.addresses import free_port
from tests.health import is_alive, is_ready, liveness
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.valkey import Valkey, running_valkey
from tests.waiting import hold, until_blocking

PROBE = Path(__file__).parent.parent / "projects" / "probe"
NOT_READY_S = 10
READY_S = 60
ERRORS = "errors.txt"

HANGS = """
import asyncio
from insula.ledger.doorbell import Doorbell
async def wait(self, newest, timeout_s):
    await asyncio.Event().wait()
Doorbell.wait = wait
"""
"""The loop waits for an entry, and nothing ends the wait."""
OUTDATED = """
from pathlib import Path
from insula.ledger.coalescer import Coalescer
from insula.stores.redis_client import connect
send = Coalescer._send
def send_to_an_outdated_address(self):
    if Path("moved").exists():
        self._redis, self._wire = connect("redis://127.0.0.1:1"), None
    send(self)
Coalescer._send = send_to_an_outdated_address
"""
"""The client of the loop keeps an address where no Redis is."""
HANGS_AT_THE_END = f"""
{HANGS}
from insula_worker.attempts.claiming import Claiming
async def finish(self, grace_s):
    await asyncio.Event().wait()
Claiming.finish = finish
"""
"""The loop hangs, and so does the drain."""
FAULTS = {
    "hangs": (HANGS, "the poll loop has not turned for 20 s"),
    "outdated": (OUTDATED, "new connections to Redis work"),
    "hangs-at-the-end": (HANGS_AT_THE_END, "the poll loop has not turned for 20 s"),
}
"""Each fault, and the reason with which the worker ends."""
RUN = 'import runpy; runpy.run_module("insula_worker", run_name="__main__")'


@contextmanager
def faulty_worker(stack: Stack, folder: Path, fault: str) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """Run one more worker of `probe`, with a fault and a lease of 2 s. Yield it and its address once it is ready."""
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "INSULA_REDIS_URL": stack.info["redis"],
        "INSULA_API": "probe",
        "INSULA_WORKER": folder.name,
        "INSULA_LISTEN": address,
        "INSULA_ADMIN_TOKEN": "token",
        "INSULA_SCRATCH": str(folder / "scratch"),
        "INSULA_LEASE_S": "2",
        "INSULA_GRACE_S": "3",
    }
    environment = os.environ | stack.own_s3_env | settings
    command = [sys.executable, "-c", fault + RUN]
    with (
        (folder / ERRORS).open("wb") as errors,
        subprocess.Popen(command, env=environment, cwd=folder, stderr=errors) as process,
    ):
        try:
            until_blocking(lambda: is_ready(address), READY_S)
            yield address, process
        finally:
            process.kill()


@pytest.mark.slow
async def test_i12_alive_an_outage_of_redis_fails_readiness_and_never_liveness(tmp_path: Path) -> None:
    """Redis is stopped, then killed. submit, results and the worker are ready again without a restart."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with running_valkey(folder) as valkey:
        async with running_stack([PROBE], data=tmp_path / "data", INSULA_REDIS_URL=valkey.url) as stack:
            admin = stack.info["admin"]
            addresses = [admin.replace("submit-admin", name) for name in ("submit-admin", "results", "worker.probe")]
            before = [stack.processes(part) for part in ("submit", "results", "worker")]
            until_blocking(lambda: all(map(is_ready, addresses)), READY_S)
            for begin, end in outages(valkey):
                begin()
                until_blocking(lambda: not any(map(is_ready, addresses)), NOT_READY_S)
                hold(lambda: all(map(is_alive, addresses)), NOT_READY_S)
                end()
                until_blocking(lambda: all(map(is_ready, addresses)), READY_S)
            assert [stack.processes(part) for part in ("submit", "results", "worker")] == before
            assert HttpApi(f"{stack.public}/probe").run(b"{}", "application/json")["status"] == "completed"


def outages(valkey: Valkey) -> list[tuple[Callable[[], object], Callable[[], object]]]:
    """Return how each outage begins and ends."""
    assert valkey.process is not None
    pid = valkey.process.pid
    return [
        (lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)),
        (valkey.kill, valkey.start),
    ]


@pytest.mark.slow
def test_i12_alive_a_worker_whose_poll_loop_is_stuck_ends(stack: Stack, tmp_path: Path) -> None:
    """Its liveness is NOT_SERVING, then it ends with an error, so that whoever started it starts another one."""
    with ExitStack() as ending, ThreadPoolExecutor() as pool:
        workers = {
            name: ending.enter_context(faulty_worker(stack, tmp_path / name, fault))
            for name, (fault, _) in FAULTS.items()
        }
        watches = {name: pool.submit(list, liveness(address, READY_S)) for name, (address, _) in workers.items()}
        for name, (_, process) in workers.items():
            (tmp_path / name / "moved").touch()
            assert process.wait(timeout=READY_S) == 1
            assert watches[name].result() == [True, False]
    for name, (_, reason) in FAULTS.items():
        last = (tmp_path / name / ERRORS).read_text().splitlines()[-1]
        assert last.startswith(f"worker: {reason}"), name
