"""The plan of a stack: its workers, their accelerators, and the processes of its services."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from insula.project import read_project
from insula_local.datadir import DataDirectory
from insula_local.machine.binaries import Programs
from insula_local.parts import Parts
from insula_local.plan import Plan, WorkerId
from insula_local.preflight import read_processes, with_devices
from insula_local.settings import Refused, Settings
from insula_local.supervision.supervise import Part

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
    """Return the plan of the APIs in CONFIG, with two workers of `one`, on a machine with `gpus` GPUs of NVIDIA."""
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
    """An API's name may end with a number. Worker 1 of `api` is `api-1`, and worker 0 of `api-1` is `api-1-0`."""
    assert WorkerId("api", 1).name == "api-1"
    assert WorkerId("api-1").name == "api-1-0"
    assert len({WorkerId(api, number).part for api in ("api", "api-1") for number in range(3)}) == 6


@contextmanager
def services(folder: Path, processes: int) -> Generator[tuple[Parts, list[Part]]]:
    """Make the parts of a stack without APIs. Yield all parts, and those that are a process of submit or results."""
    settings = Settings(folder / "data", environment={})
    plan = Plan(settings, (), Programs(*[folder] * 4), 1, processes=processes)
    with closing(DataDirectory(settings.data, folder)) as data:
        made = Parts(plan, data, {"s3.port": 1, "metrics.port": 2}, (), enclosed=True)
        submit = [made.submit(name, print) for name in plan.parts_of("submit")]
        yield made, [*submit, *(made.results(name) for name in plan.parts_of("results"))]


def upstreams(parts: Parts) -> dict[str, list[str]]:
    """Return a map from the name of each Envoy cluster to its sockets."""
    parts.envoy()
    configuration: dict[str, Any] = yaml.safe_load((parts.data.run / "envoy.yaml").read_text())
    return {
        cluster["name"]: [
            endpoint["endpoint"]["address"]["pipe"]["path"]
            for group in cluster["load_assignment"]["endpoints"]
            for endpoint in group["lb_endpoints"]
        ]
        for cluster in configuration["static_resources"]["clusters"]
    }


def test_every_process_of_a_service_is_a_part_and_an_endpoint_of_envoy(tmp_path: Path) -> None:
    """Each process has its own log and its own sockets."""
    with services(tmp_path, processes=3) as (parts, made):
        assert [part.name for part in made] == ["submit", "submit-2", "submit-3", "results", "results-2", "results-3"]
        assert made[1].log == parts.data.logs / "submit-2.log"
        sockets = [
            value.removeprefix("unix://")
            for part in made
            for name, value in part.environment.items()
            if name in {"INSULA_LISTEN", "INSULA_HTTP_SOCKET", "INSULA_ADMIN_LISTEN", "INSULA_METRICS_LISTEN"}
        ]
        assert len(set(sockets)) == len(sockets) == 3 * 6
        grpc = [part.environment["INSULA_LISTEN"].removeprefix("unix://") for part in made]
        http = [part.environment["INSULA_HTTP_SOCKET"] for part in made]
        assert upstreams(parts) == {
            "submit": grpc[:3],
            "results": grpc[3:],
            "submit_http": http[:3],
            "results_http": http[3:],
        }
        assert "--concurrency 6 " in " ".join(parts.envoy().command)


def test_by_default_each_service_is_one_process(tmp_path: Path) -> None:
    """Commands and Prometheus use the sockets of the first process, whatever the number."""
    with services(tmp_path, processes=1) as (parts, made):
        assert [part.name for part in made] == ["submit", "results"]
        assert made[0].environment["INSULA_ADMIN_LISTEN"] == parts.address("submit-admin")
        assert made[1].environment["INSULA_METRICS_LISTEN"] == parts.address("results-metrics")
        assert "--concurrency 2 " in " ".join(parts.envoy().command)


@pytest.mark.parametrize("text", ["0", "65", "-1", "two", "", "1.5", "²", "1" * 5000])
def test_a_number_of_processes_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"--processes .* is refused: write a whole number from 1 to 64\."):
        read_processes(text)
    assert (read_processes("1"), read_processes("64")) == (1, 64)
