"""A whole local stack for a test: `insula up` on addresses of its own. It is always stopped at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import boto3
import grpc
from redis import Redis

from insula.keys import ApiKeys
from insula.ledger.updates import changes
from insula.v1.api_service_pb2 import Api, DeleteApiRequest, GetApiRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula_local.parts import SEAWEEDFS_PORTS
from insula_local.seaweedfs.storage import Keys
from tests.addresses import free_addresses, free_port
from tests.modes import Mode, adopt, chosen_mode, options_of, user_of, wrapper_of
from tests.ordinary_user import OrdinaryUser
from tests.processes import descendants
from tests.waiting import until_blocking

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

READY_S: Final = 280
STOP_S: Final = 120
"""Limits for a slow machine. The first start on a machine builds an environment. Other tests check the usual times."""
ENDED: Final = ("completed", "failed", "cancelled")
_numbers = itertools.count()

PART_WORDS: Final = {
    "runner": "insula_runner",
    "worker": "insula_worker",
    "submit": "insula_submit",
    "results": "insula_results",
    "envoy": "envoy.yaml",
    "valkey": "valkey-server",
    "seaweedfs": "weed",
}
"""For each part, a word that only its command line contains."""


@dataclass(frozen=True)
class Stack:
    """A running stack. `info` is the line of JSON that `insula up --json` printed."""

    pid: int
    info: dict[str, Any]

    @property
    def public(self) -> str:
        """URL of the public listener."""
        return str(self.info["public"])

    @property
    def internal(self) -> str:
        """URL of the in-cluster listener."""
        return str(self.info["internal"])

    @property
    def s3_env(self) -> dict[str, str]:
        """The AWS_* variables that handlers get."""
        return cast(dict[str, str], self.info["s3"]["env"])

    @property
    def own_s3_env(self) -> dict[str, str]:
        """The AWS_* variables of the services, which may read Insula's own bucket."""
        keys = Keys.parse((Path(self.info["data"]) / "keys.json").read_text())
        return {**self.s3_env, "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}

    def s3(self) -> S3Client:
        """Return a client with the credentials of the services."""
        return boto3.client(
            "s3",
            endpoint_url=self.info["s3"]["endpoint"],
            region_name="us-east-1",
            aws_access_key_id=self.own_s3_env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.own_s3_env["AWS_SECRET_ACCESS_KEY"],
        )

    def state(self, api: str) -> tuple[str, str]:
        """Return the state and reason of an API at the moment `insula up` was ready."""
        found = next(one for one in self.info["apis"] if one["name"] == api)
        return found["state"], found["reason"]

    def api(self, name: str) -> Api:
        """Return what the registry has about an API now."""
        with grpc.insecure_channel(self.info["admin"]) as channel:
            return ApiServiceStub(channel).GetApi(GetApiRequest(name=name)).api

    def delete(self, name: str) -> int:
        """Delete an API. Return the number of workloads that this cancelled."""
        with grpc.insecure_channel(self.info["admin"]) as channel:
            return ApiServiceStub(channel).DeleteApi(DeleteApiRequest(name=name)).cancelled

    def counts(self, api: str) -> dict[str, int]:
        """Return the number of workloads of the API in each status."""
        with Redis.from_url(self.info["redis"]) as redis:
            found = cast(dict[bytes, bytes], redis.hgetall(ApiKeys(api).counts))
        return {name.decode(): int(value) for name, value in found.items()}

    def updates(self, api: str) -> list[tuple[str, str]]:
        """Return all changes of status so far: id and new status, oldest first."""
        with Redis.from_url(self.info["redis"]) as redis:
            entries = cast(list[tuple[bytes, dict[bytes, bytes]]], redis.xrange(ApiKeys(api).updates))
        return [change for _, update in entries for change in changes(update)]

    def log(self, api: str) -> str:
        """Return the complete lines that the worker of an API and its handler have printed so far."""
        try:
            text = (Path(self.info["data"]) / "logs" / f"worker-{api}.log").read_text(errors="replace")
        except FileNotFoundError:  # the log is being rotated
            return ""
        return text[: text.rfind("\n") + 1]

    def log_records(self, api: str) -> list[dict[str, Any]]:
        """Return the lines of the log that are JSON objects."""
        lines = (line for line in self.log(api).splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def printed(self, api: str) -> list[str]:
        """Return the lines of the log that are text, then the messages of those that are JSON."""
        plain = [line for line in self.log(api).splitlines() if not line.startswith("{")]
        return plain + [str(record.get("message")) for record in self.log_records(api)]

    def wait_for_status(self, api: str, id: str, status: str) -> None:
        """Return once the record of `id` has the status."""
        with Redis.from_url(self.info["redis"]) as redis:

            def reached() -> bool:
                found = status_of(redis, api, id)
                assert found == status or found not in ENDED, f"{id} is {found} and will not be {status}"
                return found == status

            until_blocking(reached, READY_S)

    def processes(self, part: str, api: str = "") -> list[int]:
        """Return the process ids of a part: those of one API, or of all."""
        found = descendants(self.pid)
        if api:
            named = (pid for pid, command in found.items() if command.endswith(f" -m insula_worker {api} "))
            worker = next(named)  # a child of its own has the same command line, until it has called exec
            found = {worker: found[worker]} | descendants(worker)
        return [pid for pid, command in found.items() if PART_WORDS[part] in command]

    def kill(self, part: str, api: str = "") -> int:
        """Kill one process of the part with SIGKILL. Return its id."""
        [pid, *_] = self.processes(part, api)
        os.kill(pid, signal.SIGKILL)
        return pid


def status_of(redis: Redis, api: str, id: str) -> str:
    """Return the recorded status of a workload, ended or not. Empty if there is no record."""
    keys = ApiKeys(api)
    live = cast(bytes | None, redis.hget(keys.workload(id), "status"))
    ended = cast(bytes | None, redis.hget(*keys.ended_bucket(id)))
    return (live or ended or b"").decode().split(" ")[0]


@asynccontextmanager
async def running_stack(
    projects: Sequence[Path],
    *,
    data: Path,
    options: Sequence[str] = (),
    stderr: IO[bytes] | None = None,
    user: OrdinaryUser | None = None,
    mode: Mode | None = None,
    inside: Sequence[str] = (),
    **environment: str,
) -> AsyncGenerator[Stack]:
    """Run `insula up` over `projects` until the block ends. The block begins once each API is ready or has failed once.

    `user` runs it from a copy of Insula; without `user`, `mode` decides who runs it and how. `inside` is a command
    prefix that executes the rest of the command line, as `unshare` does.
    """
    mode = mode or chosen_mode()
    if user is None and (user := user_of(mode)) is not None:
        projects, data = adopt(user, projects), user.folder(f"data-{next(_numbers)}")
    if mode is Mode.NO_NAMESPACES and not (data / "ports.json").exists():
        _choose_ports(data)
    port, address = free_addresses()
    where = ["--data", str(data), "--public-port", str(port), "--internal-address", address]
    python, process_of = (user.python, dict(user.process)) if user is not None else (sys.executable, {})
    process_of["env"] = process_of.get("env", os.environ) | environment
    options = [*where, "--json", *options_of(mode), *options]
    command = [*inside, *wrapper_of(mode), python, "-m", "insula.cli.main", "up", *map(str, projects), *options]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=stderr, **process_of)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_S):
            line = await process.stdout.readline()
        assert line, f"insula up ended with {await process.wait()}"
        yield Stack(process.pid, json.loads(line))
    finally:
        await _end(process)


def _choose_ports(data: Path) -> None:
    """Choose SeaweedFS' ports.

    Without a network namespace, several SeaweedFS share the machine's ports. SeaweedFS refuses a port that is in use
    on any address, and checks its ports late.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data / "ports.json").write_text(json.dumps({name: free_port() for name in SEAWEEDFS_PORTS}))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()  # the kernel ends its children too
        await process.wait()
        raise
