"""Stopping in good order, and not in good order: what was accepted goes on where it stood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.http_api import HttpApi
from tests.stack import running_stack

PROBE = Path(__file__).parent.parent / "projects" / "probe"


@pytest.mark.slow
async def test_i7_drain_a_stopped_stack_gives_back_what_it_could_not_finish(tmp_path: Path) -> None:
    """After SIGTERM and a restart on the same data, each workload has ended, and those that finished ran once."""
    log = tmp_path / "runs"
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/probe")
        done = api.submit(json.dumps({"log": str(log)}).encode(), "application/json")
        api.end(done)
        finishing = api.submit(json.dumps({"log": str(log), "sleep_s": 1}).encode(), "application/json")
        waiting = [
            api.submit(json.dumps({"log": str(log), "sleep_s": 1}).encode(), "application/json") for _ in range(3)
        ]
        stack.wait_for_status("probe", finishing, "in_progress")
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/probe")
        for id in (done, finishing, *waiting):
            assert api.end(id)["status"] == "completed"
    runs = log.read_text().split()
    assert sorted(runs) == sorted([done, finishing, *waiting]), "each ran exactly once"


@pytest.mark.slow
async def test_i5_poison_a_payload_that_kills_its_runner_ends_failed_and_the_next_one_runs(tmp_path: Path) -> None:
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/probe")
        poison = api.submit(b'{"exit": 3}', "application/json")
        bystander = api.submit(b"{}", "application/json")
        failed = api.end(poison)
        assert failed["error"]["reason"] == "WORKER_LOST"
        assert "exited with code 3" in failed["error"]["message"]
        assert api.end(bystander)["status"] == "completed"
