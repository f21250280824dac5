"""From the settings to a running stack, on the main thread of this process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

from insula.local import binaries, hosts, ports, preflight
from insula.local.datadir import DataDirectory
from insula.local.parts import Parts, port_names, worker_name
from insula.local.rollout.events import ApiTask, Task
from insula.local.settings import Refused, Settings
from insula.local.stack import Stack
from insula.local.storage import BUCKET
from insula.local.terminal import Terminal
from insula.local.view import Announcement, ApiState, View
from insula.project import Project


def run(settings: Settings, announce: Callable[[Announcement], None]) -> int:
    """Run the stack until it is told to stop; the exit code. Raises Refused or ProjectInvalid before the start."""
    projects = preflight.check(settings)
    programs = binaries.find()
    data = DataDirectory(settings.data)
    names = tuple(project.spec.name for project in projects)
    parts = Parts(settings, data, programs, names, _choose_ports(settings, data, names))
    data.write("hosts", hosts.render(settings.internal_address, names))
    data.write("rollout.json", _task(parts, projects).render())
    apis = [
        ApiState(project.spec.name, f"{parts.public_url}{project.spec.networking.endpoint}", project.root)
        for project in projects
    ]
    try:
        return asyncio.run(_run(parts, apis, announce))
    finally:
        data.close()


async def _run(parts: Parts, apis: list[ApiState], announce: Callable[[Announcement], None]) -> int:
    return await Stack(parts, apis, _view(), announce).run()


def _view() -> View:
    terminal = Terminal(sys.stderr.fileno())
    if not terminal.isatty():
        return View(terminal)
    from insula.local.live import LiveView

    return LiveView(terminal)


def _choose_ports(settings: Settings, data: DataDirectory, apis: Sequence[str]) -> dict[str, int]:
    """SeaweedFS listens on 127.0.0.1 as well, whatever it is told, so a port has to be free there too."""
    addresses = {settings.internal_address, "127.0.0.1"}
    try:
        chosen = ports.choose(port_names(apis), data.remembered_ports(), addresses)
    except ports.NoFreePort as error:
        raise Refused(f"The stack cannot be started: {error}. Stop other servers, or use another machine.") from error
    data.remember_ports(chosen)
    return chosen


def _task(parts: Parts, projects: Sequence[Project]) -> Task:
    apis = (
        ApiTask(project.spec.name, str(project.config_path), parts.address(worker_name(project.spec.name)))
        for project in projects
    )
    return Task(
        bucket=BUCKET,
        filer=parts.address("filer.port"),
        token_key=parts.data.keys.token_key,
        admin=parts.address("submit-admin"),
        apis=tuple(apis),
    )
