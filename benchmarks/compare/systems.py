"""The systems that are compared: Insula, and each peer behind an HTTP API of its own.

Each has one API process and one worker process. The peers' Valkey has `appendfsync everysec`, so a crash may lose one
second. Insula's own Valkey writes to the disk before it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from benchmarks.compare.environment import Environment
from benchmarks.compare.processes import roles_below
from insula_local import valkey
from tests.addresses import free_port
from tests.stack import PART_WORDS, running_stack

PROJECT: Final = Path(__file__).with_name("project")
PEERS: Final = Path(__file__).parents[1] / "peers"
START_S: Final = 60
EVERYSEC: Final = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}
PATIENT: Final = "?socket_timeout=120"
"""Query of the Redis URL of workers that use redis-py. The benchmark stops a worker while it fills the queue. With
redis-py's default time-out of 5 s, the worker would lose the tasks in the answer that it waited for."""


@dataclass(frozen=True)
class Running:
    """A started system. POST `url` submits a payload; GET `url`/ID returns its workload."""

    url: str
    roots: dict[int, Callable[[str], str]]

    def roles(self) -> dict[int, str]:
        """Return the role of each process of the system."""
        found: dict[int, str] = {}
        for root, role_of in self.roots.items():
            found |= roles_below(root, role_of)
        return found

    @property
    def port(self) -> int:
        """The port of the API."""
        return urlsplit(self.url).port or 80


class System(Protocol):
    """One of the compared systems."""

    @property
    def name(self) -> str:
        """The system's name in the table."""
        ...

    @property
    def settings(self) -> str:
        """The system's settings and servers, in words, for the page of results."""
        ...

    def version(self, environment: Environment) -> str:
        """Return the installed version."""
        ...

    def running(self, environment: Environment, folder: Path) -> contextlib.AbstractAsyncContextManager[Running]:
        """Run the system, with its data in `folder`, until the block ends."""
        ...


class Insula:
    """`insula up`, with its defaults: fsync on every write, metrics, the handler in a process of its own."""

    name = "Insula"
    settings = "`insula up`; Envoy with 2 threads, submit, results, 1 worker; appendfsync always; metrics and log on"

    def version(self, environment: Environment) -> str:  # noqa: ARG002 - it is this code
        found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
        return found.stdout.strip() or "unknown"

    @asynccontextmanager
    async def running(self, environment: Environment, folder: Path) -> AsyncGenerator[Running]:  # noqa: ARG002
        with (folder / "insula.log").open("wb") as log:
            async with running_stack([PROJECT], data=folder / "data", stderr=log) as stack:
                yield Running(f"{stack.public}/bench", {stack.pid: _part})


def _part(command: str) -> str:
    """Return the part of Insula that a command line belongs to. The order of PART_WORDS decides."""
    return next((part for part, word in PART_WORDS.items() if word in command), "insula up")


@dataclass(frozen=True)
class Peer:
    """A queue behind FastAPI and uvicorn, or behind Node's HTTP server. {port} in a command is the port of the API."""

    name: str
    package: str
    api: tuple[str, ...]
    worker: tuple[str, ...]
    settings: str

    def version(self, environment: Environment) -> str:
        """Return the installed version of the package."""
        return environment.version(self.package)

    @asynccontextmanager
    async def running(self, environment: Environment, folder: Path) -> AsyncGenerator[Running]:
        """Start Valkey, then the API and the worker; kill them at the end."""
        port, redis_port = free_port(), free_port()
        url = f"redis://127.0.0.1:{redis_port}/0"
        variables = {"REDIS_URL": url, "REDIS_PORT": str(redis_port), "PATIENT_REDIS_URL": f"{url}{PATIENT}"}
        variables |= {"DOCKET_URL": variables["PATIENT_REDIS_URL"], "DOCKET_NAME": "bench"}
        redis = [environment.valkey, *valkey.flags(EVERYSEC | {"port": str(redis_port), "dir": str(folder)})]
        with contextlib.ExitStack() as ending:
            started: dict[int, Callable[[str], str]] = {}

            def start(role: str, command: list[str], **more: str) -> None:
                log = ending.enter_context((folder / f"{role}.log").open("wb"))
                process = subprocess.Popen(
                    command,
                    cwd=PEERS,
                    env=os.environ | environment.variables | variables | more,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                ending.callback(_end, process)
                started[process.pid] = lambda _: role

            start("redis", redis, **valkey.allocator())
            await _listening(redis_port)
            start("api", environment.command(word.format(port=port) for word in self.api))
            start("worker", environment.command(self.worker))
            await _listening(port)
            yield Running(f"http://127.0.0.1:{port}", started)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, which are in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


async def _listening(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return


def _python_peer(name: str, package: str, worker: str, settings: str) -> Peer:
    module = f"{name.lower()}_app"
    api = f"uvicorn {module}:app --host 127.0.0.1 --port {{port}} --no-access-log --log-level warning"
    return Peer(name, package, tuple(api.split()), tuple(worker.split()), settings)


SYSTEMS: Final[tuple[System, ...]] = (
    Insula(),
    _python_peer(
        "taskiq",
        "taskiq",
        "taskiq worker taskiq_app:broker --workers 1 --max-async-tasks 100 --no-parse --log-level WARNING",
        "Redis stream broker, 1 worker process, 100 tasks at once",
    ),
    _python_peer(
        "dramatiq", "dramatiq", "dramatiq dramatiq_app --processes 1 --threads 8", "1 worker process, 8 threads"
    ),
    _python_peer("SAQ", "saq", "saq saq_app.settings --quiet", "1 worker process, 64 tasks at once"),
    _python_peer("streaq", "streaq", "streaq run streaq_app:worker", "1 worker process, 64 tasks at once"),
    _python_peer(
        "docket",
        "pydocket",
        "docket worker --tasks docket_app:tasks --concurrency 64 --logging-level WARNING",
        "1 worker process, 64 tasks at once",
    ),
    _python_peer(
        "Celery",
        "celery",
        "celery -A celery_app:celery worker --pool solo --loglevel WARNING --without-gossip --without-mingle",
        "solo pool (faster here than prefork), acks late, prefetch 64",
    ),
    Peer(
        "BullMQ",
        "bullmq",
        ("node", "bullmq_app.cjs", "api", "{port}"),
        ("node", "bullmq_app.cjs", "worker"),
        "on Node, 1 worker process, 64 jobs at once",
    ),
)
