"""Stopping a stack: accepted workloads continue after a restart, and idle handlers exit normally."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.local.test_refusals import write_project
from tests.http_api import HttpApi
from tests.stack import running_stack
from tests.waiting import until

TIDY_YAML = """
- name: {api}
  kind: AsyncAPI
  handler: {{type: python, path: handler.py}}
"""
TIDY = """
import atexit, pathlib, tempfile

class Handler:
    def handle_async(self, payload):
        self.kept = tempfile.TemporaryDirectory(dir=payload)
        atexit.register((pathlib.Path(payload) / "left").write_text, "left")
        return {"kept": self.kept.name}
"""
PROBE = Path(__file__).parent.parent / "projects" / "probe"


@pytest.mark.slow
async def test_i7_drain_a_stopped_stack_gives_back_what_it_could_not_finish(tmp_path: Path) -> None:
    """After SIGTERM and a restart on the same data, each workload completes and runs exactly once."""
    log = tmp_path / "runs"
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/probe")
        done = api.submit(json.dumps({"log": str(log)}).encode(), "application/json")
        api.end(done)
        finishing = api.submit(json.dumps({"log": str(log), "sleep_s": 2}).encode(), "application/json")
        stack.wait_for_status("probe", finishing, "in_progress")
        waiting = [
            api.submit(json.dumps({"log": str(log), "sleep_s": 1}).encode(), "application/json") for _ in range(3)
        ]
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/probe")
        for id in (done, finishing, *waiting):
            assert api.end(id)["status"] == "completed"
    runs = log.read_text().split()
    assert sorted(runs) == sorted([done, finishing, *waiting]), "each workload runs exactly once"


@pytest.mark.slow
async def test_an_idle_handler_exits_as_a_python_program_does(tmp_path: Path) -> None:
    """At a drain and at a deletion, its atexit functions run and its temporary directories are removed."""
    places = {api: tmp_path / api for api in ("drained", "deleted")}
    projects = [write_project(tmp_path / f"{api}-project", TIDY_YAML.format(api=api), TIDY) for api in places]
    for place in places.values():
        place.mkdir()
    async with running_stack(projects, data=tmp_path / "data") as stack:
        kept = {}
        for api, place in places.items():
            kept[api] = Path(HttpApi(f"{stack.public}/{api}").run(str(place).encode(), "text/plain")["result"]["kept"])
            assert kept[api].exists()
        stack.delete("deleted")
        await until((places["deleted"] / "left").exists)
        await until(lambda: not kept["deleted"].exists())
        assert not (places["drained"] / "left").exists()
    assert (places["drained"] / "left").read_text() == "left"
    assert not kept["drained"].exists()
