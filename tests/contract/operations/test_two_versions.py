"""Services of the latest release and of this code run together under load, on one Redis and S3.

This is the situation of a rolling update.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sysconfig
import tarfile
import tomllib
import venv
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any, Final, cast

import pytest
from packaging.requirements import Requirement
from redis import Redis

from insula.keys import ApiKeys
from insula.ledger.updates import changes
from insula.v1.workload_pb2 import Workload
from tests.contract.operations.conftest import PROJECT
from tests.services import Service, deploy, read_workload, services, submit_workload
from tests.valkey import running_valkey
from tests.waiting import until_blocking

ROOT: Final = Path(__file__).parents[3]
RELEASES: Final[dict[str, str]] = json.loads((ROOT / "tests" / "releases.json").read_text())
CODE: Final = ("src", "services/submit", "services/results", "services/worker", "envoy", "local")
CALLERS: Final = 6
API: Final = "rolling"
ENDED: Final = ("completed", "failed")
KINDS: Final[list[dict[str, object]]] = [{"result": 5_000, "large": True}, {"raise": True}, {}, {}]
"""The payloads that a caller repeats: one with payload and result in S3, one that fails, two small ones."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the code of the latest release."""
    name, commit = list(RELEASES.items())[-1]
    command = ["git", "archive", "--format=tar", commit, "pyproject.toml", *CODE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(
            f"this copy of the repository does not have the commit of {name}; a shallow clone gets it with "
            f"`git fetch --unshallow`: {done.stderr.decode().strip()}"
        )
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    for text in tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]:
        needed = Requirement(text)
        assert needed.specifier.contains(version(needed.name)), f"{name} needs {needed}"
    return environment_of(folder)


def environment_of(tree: Path) -> Path:
    """Make an environment with the code in `tree` and the installed packages of this one. Return its interpreter.

    The `.pth` files of this environment, which name the folders of this code, have no effect there.
    """
    venv.create(tree / "venv", symlinks=True, with_pip=False)
    packages = next((tree / "venv" / "lib").glob("python*/site-packages"))
    folders = [*(str(tree / part) for part in CODE), sysconfig.get_path("purelib")]
    (packages / "release.pth").write_text("\n".join(folders))
    return tree / "venv" / "bin" / "python"


class Load:
    """Callers that submit to the services in `submits` and read from those in `results`, in turn.

    A test may change both lists meanwhile.
    """

    def __init__(self, submits: list[Service], results: list[Service], runs: Path) -> None:
        self.submits, self.results = submits, results
        self.payloads: dict[str, dict[str, Any]] = {}
        self._runs = runs
        self._stop = Event()
        self._turns = itertools.count()

    def call(self) -> None:
        """Submit workloads until the load stops. Wait for the end of each workload before the next one."""
        for kind in itertools.cycle(KINDS):
            if self._stop.is_set():
                return
            number = next(self._turns)
            payload = kind | {"number": number, "runs": str(self._runs)}
            if payload.pop("large", False):
                payload["filler"] = "y" * 40_000
            id = submit_workload(_turn(self.submits, number), API, json.dumps(payload).encode())
            self.payloads[id] = payload
            until_blocking(lambda id=id: self._read(id).status in ENDED)  # type: ignore[misc]

    def _read(self, id: str) -> Workload:
        return read_workload(_turn(self.results, next(self._turns)), API, id)

    @contextmanager
    def running(self) -> Generator[None]:
        """Run the callers until the block ends. Raises the error of a caller, because no call may fail."""
        with ThreadPoolExecutor(CALLERS) as pool:
            callers: list[Future[None]] = [pool.submit(self.call) for _ in range(CALLERS)]
            try:
                yield
            finally:
                self._stop.set()
            for caller in callers:
                caller.result()

    def progress(self) -> None:
        """Return once 2 * CALLERS more workloads have been accepted."""
        wanted = len(self.payloads) + 2 * CALLERS
        until_blocking(lambda: len(self.payloads) >= wanted)


def _turn(of: Sequence[Service], number: int) -> Service:
    return of[number % len(of)]


def test_an_upgrade_and_a_rollback_under_load_lose_and_repeat_nothing(
    release: Path, s3_env: dict[str, str], tmp_path: Path
) -> None:
    """Old and new submit accept, old and new results read, and workers are replaced: old, new, old.

    No call fails. Each workload runs once and ends once. Both versions read every workload alike.
    """
    check_code(release)
    with (
        running_valkey(tmp_path) as valkey,
        services(tmp_path / "old", s3_env | {"INSULA_REDIS_URL": valkey.url}, release) as old,
        services(tmp_path / "new", s3_env | {"INSULA_REDIS_URL": valkey.url}) as new,
    ):
        submits, results = [old.submit("submit")], [old.results("results")]
        deploy(PROJECT, submits[0])
        worker = old.worker(API, "worker-1")
        load = Load(submits, results, tmp_path / "runs")
        with load.running():
            load.progress()
            submits.append(new.submit("submit"))
            results.append(new.results("results"))
            load.progress()
            for number, following in enumerate((new, old), start=2):
                successor = following.worker(API, f"worker-{number}")
                load.progress()
                assert worker.stop() == 0
                load.progress()
                worker = successor
        check_ends(load, (tmp_path / "runs").read_text().split())
        with Redis.from_url(valkey.url) as redis:
            check_history(redis, list(load.payloads))


def check_code(python: Path) -> None:
    """Check that an interpreter imports the code that lies beside its environment, not the code under test."""
    for module in ("insula", "insula_submit", "insula_results", "insula_worker", "insula_runner"):
        command = [str(python), "-P", "-c", f"import {module}; print({module}.__file__)"]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        assert Path(done.stdout.strip()).is_relative_to(python.parents[2])


def check_ends(load: Load, runs: list[str]) -> None:
    """Check that each workload ran once, and that all results services return the same, right end."""
    assert Counter(runs) == dict.fromkeys(load.payloads, 1)
    for id, payload in load.payloads.items():
        first, *others = (read_workload(service, API, id) for service in load.results)
        assert others == [first] * len(others)
        assert first.attempt == 1
        if payload.get("raise"):
            assert (first.status, first.failure.reason) == ("failed", "HANDLER_ERROR")
        else:
            padding = "x" * payload.get("result", 0)
            assert json.loads(first.result_json) == {"number": payload["number"], "padding": padding}


def check_history(redis: Redis, ids: list[str]) -> None:
    """Check that each workload has one end."""
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], redis.xrange(ApiKeys(API).updates))
    ends = Counter(id for _, update in entries for id, status in changes(update) if status in ENDED)
    assert ends == dict.fromkeys(ids, 1)
