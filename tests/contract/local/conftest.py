"""Parts of `insula up`, such as its stores, under its supervision but without the rest of the stack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config

from insula_local.datadir import DataDirectory
from insula_local.machine import ports
from insula_local.machine.binaries import find
from insula_local.parts import PORTS, Parts
from insula_local.plan import Plan
from insula_local.seaweedfs import filer
from insula_local.seaweedfs.storage import BUCKET
from insula_local.settings import Settings
from insula_local.supervision.supervise import Part, Supervised
from tests.addresses import free_addresses

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@dataclass
class Watched:
    """Records the calls that a watcher receives."""

    started: list[str] = field(default_factory=list[str])
    was_ready: list[str] = field(default_factory=list[str])
    deaths: list[tuple[str, str, float, list[str]]] = field(default_factory=list[tuple[str, str, float, list[str]]])

    def starting(self, part: str) -> None:
        self.started.append(part)

    def ready(self, part: str, seconds: float) -> None:
        assert seconds >= 0
        self.was_ready.append(part)

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        self.deaths.append((part, how, again_s, lines))


class Bench:
    """Runs parts under supervision, and stops them all at the end."""

    def __init__(self) -> None:
        self.watched = Watched()
        self._running: list[tuple[Supervised, asyncio.Task[None]]] = []

    def start(self, part: Part) -> Supervised:
        """Begin to supervise the part."""
        supervised = Supervised(part, self.watched)
        self._running.append((supervised, asyncio.create_task(supervised.run())))
        return supervised

    async def start_ready(self, part: Part) -> Supervised:
        """Begin to supervise the part, and wait until it is ready."""
        supervised = self.start(part)
        await asyncio.wait_for(supervised.ready.wait(), 30)
        return supervised

    async def end(self) -> None:
        """Stop all parts."""
        for supervised, task in self._running:
            await supervised.stop()
            await task


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    running = Bench()
    yield running
    await running.end()


@pytest.fixture
def make_parts(tmp_path: Path) -> Iterator[Callable[[], Parts]]:
    """Return a function that makes the parts of a stack without APIs. Each call has a new address and the same data."""
    made: list[Parts] = []

    def make() -> Parts:
        port, address = free_addresses()
        settings = Settings(tmp_path / "data", port, internal_address=address)
        for parts in made:  # a data directory serves one stack
            parts.data.close()
        data = DataDirectory(settings.data, settings.runtime)
        chosen = ports.choose(PORTS, {}, [port])
        made[:] = [Parts(Plan(settings, (), find(), 1000), data, chosen, (), enclosed=True)]
        return made[0]

    yield make
    for parts in made:
        parts.data.close()


@pytest.fixture
def parts(make_parts: Callable[[], Parts]) -> Parts:
    return make_parts()


async def prepare(bench: Bench, parts: Parts) -> None:
    """Make S3 ready as `insula up` does: start Envoy before SeaweedFS, write SeaweedFS' settings, create our bucket."""
    await bench.start_ready(parts.envoy())
    async with asyncio.timeout(30):
        await filer.prepare(parts.socket("filer"), parts.data.keys.token_key, BUCKET)


def s3_client(parts: Parts, *, handlers: bool = False) -> S3Client:
    """Return a client of the local S3, with the credentials of Insula or of handlers."""
    keys = parts.data.keys
    return boto3.client(
        "s3",
        endpoint_url=parts.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys.handlers_access_key if handlers else keys.access_key,
        aws_secret_access_key=keys.handlers_secret_key if handlers else keys.secret_key,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=60),
    )
