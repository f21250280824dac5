"""Checks before anything is started. If a check fails, the start is refused."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from insula.cache import ENVIRONMENTS
from insula.devices import visible_devices, worker_variables
from insula.errors import ProjectInvalid
from insula.process.isolation import IsolationMissing, find_sandbox
from insula.project import Project, read_project
from insula.project.env_file import read_env
from insula_local import datadir
from insula_local.machine import binaries, ports
from insula_local.machine.disk import check_room
from insula_local.plan import Plan
from insula_local.settings import INTERNAL_PORT, Refused, Settings

CONNECT_S: Final = 3
DATA_PATH_BYTES_MAX: Final = 480
"""Limit for the path of the data directory. SQLite opens paths of up to 512 bytes (sqlite3: MAX_PATHNAME), and its
longest path here is that of seaweedfs/filer.db-journal in the data directory."""
REPLICAS_MAX: Final = 100
"""Largest number of workers of one API on this machine: the default of `autoscaling.max_replicas`."""
PROCESSES_MAX: Final = 64
"""Largest number of processes of submit, and of results."""
ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://[a-z0-9.\[\]:_-]+")
"""A value of `--cors-origin`: `*`, or scheme, host and optional port, in lower case, without a path."""


def check(settings: Settings, directories: Iterable[Path]) -> Plan:
    """Run all checks and return the plan of the stack. Raises Refused, or ProjectInvalid for a project."""
    projects = read_projects(directories)
    programs = binaries.find()
    check_addresses(settings)
    check_data(settings.data, projects)
    check_room(settings.data)
    check_cache(settings)
    if settings.redis_url is not None:
        check_redis(settings.redis_url)
    replicas = read_replicas(settings.replicas, [project.spec.name for project in projects])
    processes = read_processes(settings.processes)
    return with_devices(Plan(settings, projects, programs, settings.payload_bytes_max, replicas, processes=processes))


def read_projects(directories: Iterable[Path]) -> tuple[Project, ...]:
    """Read the APIs of all directories. Raises ProjectInvalid, or Refused if two have the same name or endpoint."""
    several = list(directories)
    projects = tuple(project for directory in several for project in _read(directory, name=len(several) > 1))
    names: dict[str, Project] = {}
    endpoints: dict[str, Project] = {}
    for project in projects:
        name, endpoint = project.spec.name, project.spec.networking.endpoint
        if (other := names.setdefault(name, project)) is not project:
            raise Refused(
                f"Two APIs are called {name}: one in {other.config_path}, one in {project.config_path}. "
                "Give one of them another name, or start them in separate stacks."
            )
        if (other := endpoints.setdefault(endpoint, project)) is not project:
            raise Refused(
                f"Two APIs want the endpoint {endpoint}: {other.spec.name} in {other.config_path} and {name} in "
                f"{project.config_path}. Set networking.endpoint of one of them to another path."
            )
    return projects


def read_replicas(texts: Sequence[str], apis: Collection[str]) -> dict[str, int]:
    """Parse texts `API=N`. Return the number of workers by API. Raises Refused for an unknown API or a wrong N."""
    found: dict[str, int] = {}
    for text in texts:
        api, _, number = text.partition("=")
        if not _is_count(number, REPLICAS_MAX):
            raise Refused(
                f"--replicas {text!r} is refused: write API=N, where N is a whole number from 1 to {REPLICAS_MAX}."
            )
        if api not in apis:
            raise Refused(f"--replicas {text} is refused: no project has an API {api}. There is {', '.join(apis)}.")
        found[api] = int(number)
    return found


def read_processes(text: str) -> int:
    """Parse the number of processes of each service. Raises Refused unless it is from 1 to PROCESSES_MAX."""
    if not _is_count(text, PROCESSES_MAX):
        raise Refused(f"--processes {text!r} is refused: write a whole number from 1 to {PROCESSES_MAX}.")
    return int(text)


def _is_count(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most


def with_devices(plan: Plan, root: Path = Path("/")) -> Plan:
    """Return the plan with the machine's accelerators distributed over the workers of its projects.

    Workers of APIs that are not in the plan see all accelerators. /dev and /sys are read below `root`.
    """
    visible = visible_devices(plan.settings.environment, root)
    if not visible:
        return plan
    owns = {each.spec.name: {**each.spec.handler.env, **read_env(each.root)}.keys() for each in plan.projects}
    workers = [(worker, each.spec) for each in plan.projects for worker in plan.workers(each.spec.name)]
    dealt = worker_variables([(spec.compute, owns[spec.name]) for _, spec in workers], visible)
    return replace(plan, devices=dict(zip((worker for worker, _ in workers), dealt, strict=True)))


def _read(directory: Path, *, name: bool) -> list[Project]:
    """Return the APIs of a directory. Raises ProjectInvalid. If `name`, the text of the error names the directory."""
    try:
        return read_project(directory)
    except ProjectInvalid as error:
        if not name:
            raise
        raise ProjectInvalid(f"{directory}: {error}") from None


def check_data(data: Path, projects: Iterable[Project]) -> None:
    """Raise Refused if the path is too long for SQLite, or if the bundle of a project would contain the data."""
    size_bytes = len(os.fsencode(data))
    if size_bytes > DATA_PATH_BYTES_MAX:
        raise Refused(
            f"--data {data} is refused: its path has {size_bytes} bytes, and the limit is {DATA_PATH_BYTES_MAX}, "
            "because SQLite opens no file with a longer path. Choose a folder with a shorter path."
        )
    for root in {project.root for project in projects}:
        if data.is_relative_to(root) and not any(part.startswith(".") for part in data.relative_to(root).parts):
            raise Refused(
                f"--data {data} is refused: it lies in the project {root}, whose files are deployed. "
                "Choose a folder elsewhere, or a hidden one, such as .insula."
            )


def check_cache(settings: Settings) -> None:
    """Create the cache folder. Raises Refused if that fails, or if its path has a colon, the separator of PATH."""
    cache = settings.cache
    if ":" in str(cache) or "\n" in str(cache):
        raise Refused(
            f"The cache {str(cache)!r} is refused: its path holds a colon or a line break, and a Python environment "
            "cannot be in such a folder. Choose another with INSULA_CACHE."
        )
    try:
        if cache.is_relative_to(settings.data):
            datadir.make(settings.data)
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"The cache {cache} cannot be used: {error.strerror} ({error.filename}). "
            "Choose a folder you may write to with INSULA_CACHE."
        ) from error


def check_addresses(settings: Settings) -> None:
    """Check the addresses and the CORS origins. The internal address must be loopback, and both ports must be free.

    Raises Refused, also for a public address that is not loopback unless `anyone_may_call` is set.
    """
    if not _is_loopback(settings.internal_address):
        raise Refused(
            f"--internal-address {settings.internal_address} is refused: its listeners are for handlers and "
            "have no authentication, so it must be a loopback address, such as 127.0.0.1 or 127.0.0.2."
        )
    if settings.public_port == INTERNAL_PORT and settings.public_address in {settings.internal_address, "0.0.0.0"}:  # noqa: S104
        raise Refused(
            f"--public-port {INTERNAL_PORT} is refused: handlers call each other on that port of "
            f"{settings.internal_address}. Choose another, such as 8080."
        )
    _check_address(settings.public_address)
    if not _is_loopback(settings.public_address) and not settings.anyone_may_call:
        raise Refused(
            f"--public-address {settings.public_address} is refused: there is no authentication yet, so everyone who "
            "reaches that address could submit workloads and read results. Add --allow-anyone-to-call to accept this, "
            "or leave it at 127.0.0.1."
        )
    for origin in settings.cors_origins:
        if not ORIGIN.fullmatch(origin):
            raise Refused(
                f"--cors-origin {origin!r} is refused: it is not an origin. Write one as a browser sends it, such as "
                'https://app.example or http://localhost:3000, or "*" for any.'
            )
    _check_port(settings.public_address, settings.public_port, "another port with --public-port.")
    _check_port(
        settings.internal_address,
        INTERNAL_PORT,
        "another address with --internal-address, such as 127.0.0.2; the port itself is fixed, since handlers call "
        "each other there.",
    )


def check_redis(url: str) -> None:
    """Raise Refused if the user's own Redis does not answer a PING. The services check its durability later."""
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(url, socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        raise Refused(
            f"The Redis that INSULA_REDIS_URL names does not answer ({error}). Start it, correct the URL, "
            "INSULA_REDIS_USER, INSULA_REDIS_PASSWORD or INSULA_REDIS_CA_FILE, or unset INSULA_REDIS_URL to let "
            "`insula up` start a Valkey of its own."
        ) from error


def check_isolation(settings: Settings) -> str:
    """Return one line with what this machine cannot isolate, and why; empty if nothing, or with isolation off.

    Runs bubblewrap in the cache's folder of environments. Raises Refused if isolation is required and incomplete.
    """
    try:
        return find_sandbox(settings.isolation, settings.cache / ENVIRONMENTS).missing
    except (IsolationMissing, OSError) as error:
        raise Refused(
            f"--isolation required is refused: {error}. Allow what is missing, or start with --isolation auto: "
            "handlers can then see the parts of the machine, and of each other, that are not isolated."
        ) from error


def _check_address(address: str) -> None:
    """Raise Refused unless the text is an IPv4 address of this machine."""
    try:
        ipaddress.IPv4Address(address)
        ports.is_free(address, 0)
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not an IPv4 address"
        raise Refused(
            f"--public-address {address} is refused: {why}. Choose an address of this machine, such as 127.0.0.1, "
            "or 0.0.0.0 for all of them."
        ) from error


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def _check_port(address: str, port: int, instead: str) -> None:
    try:
        if ports.is_free(address, port):
            return
    except OSError as error:
        raise Refused(f"Nothing can listen on {address}:{port}: {error.strerror}. Choose {instead}") from error
    process = ports.owner(address, port)
    who = f"the process {process.pid} ({process.command})" if process else "another process"
    raise Refused(f"Port {port} on {address} is in use by {who}. Stop it, or choose {instead}")
