"""The plan of a stack: its workers and their accelerators."""

from __future__ import annotations

from pathlib import Path

from insula.project import read_project
from insula_local.machine.binaries import Programs
from insula_local.plan import Plan, WorkerId
from insula_local.preflight import with_devices
from insula_local.settings import Settings

HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {}\n"
CONFIG = """\
- {name: one, kind: AsyncAPI, handler: {type: python, path: handler.py}, compute: {gpu: 1}}
- {name: none, kind: AsyncAPI, handler: {type: python, path: handler.py}}
- name: own
  kind: AsyncAPI
  handler: {type: python, path: handler.py, env: {CUDA_VISIBLE_DEVICES: 3}}
  compute: {gpu: 1}
"""


def plan(folder: Path, gpus: int) -> Plan:
    """Return the plan of these APIs, the first with two workers, on a machine with GPUs of NVIDIA."""
    (folder / "dev").mkdir()
    for number in range(gpus):
        (folder / f"dev/nvidia{number}").touch()
    (folder / "cortex.yaml").write_text(CONFIG)
    (folder / "handler.py").write_text(HANDLER)
    programs = Programs(*[folder] * 4)
    settings = Settings(folder / "data", environment={})
    return with_devices(Plan(settings, tuple(read_project(folder)), programs, 1, {"one": 2}), folder)


def test_the_gpus_are_dealt_to_the_workers_of_all_apis(tmp_path: Path) -> None:
    found = plan(tmp_path, gpus=4)
    assert [worker.name for worker in found.workers("one")] == ["one-0", "one-1"]
    assert found.devices == {
        WorkerId("one"): {"CUDA_VISIBLE_DEVICES": "0"},
        WorkerId("one", 1): {"CUDA_VISIBLE_DEVICES": "1"},
        WorkerId("none"): {},
        WorkerId("own"): {},
    }


def test_without_a_gpu_nothing_is_set(tmp_path: Path) -> None:
    assert plan(tmp_path, gpus=0).devices == {}


def test_the_names_of_workers_are_unique() -> None:
    """An API's name may end with a number."""
    assert WorkerId("api", 1).name == "api-1"
    assert WorkerId("api-1").name == "api-1-0"
    assert len({WorkerId(api, number).part for api in ("api", "api-1") for number in range(3)}) == 6
