"""What can be known before the start: everything found wrong here is refused, and nothing has been started yet."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from insula.local import ports
from insula.local.settings import INTERNAL_PORT, Refused, Settings
from insula.project import Project, read_project

REDIS_PORT: Final = 6379
CONNECT_S: Final = 3


def check(settings: Settings) -> list[Project]:
    """Return the APIs to run. Raises Refused, and ProjectInvalid for a project."""
    projects = read_projects(settings.projects)
    check_addresses(settings)
    if settings.redis_url is not None:
        check_redis(settings.redis_url)
    return projects


def read_projects(directories: Iterable[Path]) -> list[Project]:
    """The APIs of all directories; a name or an endpoint belongs to one of them only."""
    projects = [project for directory in directories for project in read_project(directory)]
    names: dict[str, Project] = {}
    endpoints: dict[str, Project] = {}
    for project in projects:
        name, endpoint = project.spec.name, project.spec.networking.endpoint
        if (other := names.setdefault(name, project)) is not project:
            raise Refused(
                f"Two APIs are called {name}: one in {other.config_path}, one in {project.config_path}. "
                "Give one of them another name, or start them in stacks of their own."
            )
        if (other := endpoints.setdefault(endpoint, project)) is not project:
            raise Refused(
                f"Two APIs want the endpoint {endpoint}: {other.spec.name} in {other.config_path} and {name} in "
                f"{project.config_path}. Set networking.endpoint of one of them to another path."
            )
    return projects


def check_addresses(settings: Settings) -> None:
    """Both listeners must be free, and the inner one reachable from this machine only."""
    if not _is_loopback(settings.internal_address):
        raise Refused(
            f"--internal-address {settings.internal_address} is refused: the stores and the admin services behind it "
            "ask nobody for a password, so it must be an address of this machine alone, such as 127.0.0.1 or 127.0.0.2."
        )
    if settings.public_port == INTERNAL_PORT and settings.public_address in {settings.internal_address, "0.0.0.0"}:  # noqa: S104
        raise Refused(
            f"--public-port {INTERNAL_PORT} is refused: handlers call each other on that port of "
            f"{settings.internal_address}. Choose another, such as 8080."
        )
    _check_port(settings.public_address, settings.public_port, "Choose another port with --public-port.")
    _check_port(
        settings.internal_address,
        INTERNAL_PORT,
        "The port is fixed, since handlers call each other there; "
        "choose another address with --internal-address, such as 127.0.0.2.",
    )


def check_redis(url: str) -> None:
    """The user's own Redis must be there; the services check what it promises."""
    try:
        parts = urlsplit(url)
        place = (parts.hostname or "localhost", parts.port or REDIS_PORT)
        socket.create_connection(place, CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise Refused(
            f"The Redis that INSULA_REDIS_URL names does not answer ({error}). "
            "Start it, correct the URL, or unset INSULA_REDIS_URL to let `insula up` start a Valkey of its own."
        ) from error


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def _check_port(address: str, port: int, advice: str) -> None:
    try:
        if ports.is_free(address, port):
            return
    except OSError as error:
        raise Refused(f"Nothing can listen on {address}:{port}: {error.strerror}. {advice}") from error
    process = ports.owner(address, port)
    who = f"the process {process.pid} ({process.command})" if process else "another process"
    raise Refused(f"Port {port} on {address} is in use by {who}. Stop it, or leave it. {advice}")
