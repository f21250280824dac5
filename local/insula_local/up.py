"""Runs a planned stack to its end."""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Final

from insula.printing import note, put
from insula.process.service import hide_from_others
from insula_local.datadir import DataDirectory
from insula_local.machine import hosts, ports
from insula_local.machine.enclosure import obstacle
from insula_local.parts import PORTS, SEAWEEDFS_PORTS, Parts
from insula_local.plan import Plan
from insula_local.settings import Refused, Settings
from insula_local.stack import Stack
from insula_local.view.plain import Announcement, View
from insula_local.view.terminal import Terminal

REFUSED: Final = 2
OPEN_FILES: Final = 20_000
"""More than Envoy's limit of connections. With the usual limit of 1024 files, one caller could block all others."""


def run(plan: Plan) -> int:
    """Run the stack until it is stopped. Returns the exit code of `insula up`, see `insula.cli.up`."""
    hide_from_others()
    raise_open_files()
    try:
        data = DataDirectory(plan.settings.data, plan.settings.runtime)
        why_open = obstacle(plan.programs.bwrap)
        names = tuple(project.spec.name for project in plan.projects)
        parts = Parts(plan, data, choose_ports(plan, data, enclosed=not why_open), names, enclosed=not why_open)
        data.write("hosts", hosts.render(plan.settings.internal_address, parts.names))
    except Refused as refusal:
        note(f"insula up: {refusal}")
        return REFUSED
    try:
        return asyncio.run(_run(parts, why_open))
    finally:
        data.close()


def raise_open_files() -> None:
    """Raise the limit of open files of this process and its children to OPEN_FILES, or to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(parts: Parts, why_open: str) -> int:
    """Create the stack and run it. `why_open` is why SeaweedFS has no network namespace; empty if it has one."""

    def announce(announcement: Announcement) -> None:
        put(announcement.as_json() if parts.plan.settings.as_json else announcement.as_text())

    shown = view(parts.plan.settings)
    if why_open:
        shown.say(f"  any user of this machine can delete payloads: there is no network namespace ({why_open})")
    return await Stack(parts, shown, announce).run()


def view(settings: Settings) -> View:
    """Return the output for the user: with colours and a spinner if stderr is a terminal, else plain lines."""
    terminal = Terminal(sys.stderr.fileno())
    if not terminal.isatty():
        return View(terminal, settings.log_form, verbose=settings.verbose)
    from insula_local.view.live import LiveView

    return LiveView(terminal, settings.log_form, verbose=settings.verbose)


def choose_ports(plan: Plan, data: DataDirectory, *, enclosed: bool) -> dict[str, int]:
    """Choose a port for each name, and store them for the next run. Raises Refused if no port is free."""
    names, remembered = (*PORTS, *(() if enclosed else SEAWEEDFS_PORTS)), data.remembered_ports()
    try:
        chosen = ports.choose(names, remembered, [plan.settings.public_port])
    except ports.NoFreePort as error:
        raise Refused(f"The stack cannot be started: {error}. Stop other servers, or use another machine.") from error
    data.remember_ports(chosen)
    return chosen
