"""`insula deploy`, `get`, `describe`, `refresh` and `delete`: the APIs of a running Insula, over its admin address.

What a program would want is on stdout; everything for the eye is on stderr.
Exit codes: 0 done, 1 the API is failing or the call failed, 2 wrong usage or a refused project.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from insula.addresses import is_this_machine
from insula.cli.connection import (
    DATA_DEFAULT,
    EXIT_FAILED,
    Admin,
    Data,
    address_of,
    channel_to,
    spoken_errors,
    starting,
)
from insula.cli.progress import REPLACED, follow, remark
from insula.phase import ApiState, Phase
from insula.printing import note, put, visible

if TYPE_CHECKING:
    import grpc
    from rich.table import Table

    from insula.v1.api_service_pb2 import Api
    from insula.v1.api_service_pb2_grpc import ApiServiceStub

CALL_S: Final = 10
WATCH_S: Final = 2.0
PIPE_COLUMNS: Final = 240
"""Width of a table that no terminal limits: nothing is cut."""


class Output(StrEnum):
    """How `insula get` prints."""

    TABLE = "table"
    JSON = "json"


Name = Annotated[str, typer.Argument(metavar="API", help="Name of the API.", show_default=False)]


def deploy(
    config: Annotated[Path, typer.Argument(metavar="[CONFIG]", help="Project directory or configuration.")] = Path(),
    admin: Admin = None,
    data: Data = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Run the project's dependencies.sh, if it is this machine, without asking.")
    ] = False,
) -> None:
    """Deploy a project's APIs, and wait until each is ready or failing. The version before serves until then."""
    from insula.cli.consent import confirm_scripts
    from insula.data_directory import cache_of
    from insula.deploy import DeploymentRefused
    from insula.deploy import deploy as send
    from insula.project import read_project
    from insula.project.effects import ineffective_keys, warning
    from insula.settings import own_environment

    with spoken_errors():
        projects, address = read_project(config), address_of(admin, data)
        if is_this_machine(address):
            cache = cache_of((data or DATA_DEFAULT).absolute(), own_environment())
            confirm_scripts("insula deploy", {project.config_path for project in projects}, cache, yes=yes)
            for project in projects:
                if keys := ineffective_keys(project.spec):
                    note(f"insula deploy: {warning(project.spec.name, keys)}")
        archives = [project.bundle() for project in projects]
    with spoken_errors(), channel_to(admin, data) as channel:
        before = {api.name: api.version for api in _look_at_all(channel)}
        refused = False
        sent: list[Api] = []
        for project, archive in zip(projects, archives, strict=True):
            try:
                api = send(channel, project.spec, archive)
            except DeploymentRefused as error:
                note(f"insula: {project.spec.name}: {error}")
                refused = True
                continue
            unchanged = ", unchanged" if before.get(api.name) == api.version else ""
            note(f"{api.name}: version {api.version[:12]} at {api.endpoint}{unchanged}")
            sent.append(api)
        failed = _tell_ends(channel, sent, starting(admin, data))
    if refused or failed:
        raise typer.Exit(EXIT_FAILED)


def get(
    name: Annotated[
        str | None, typer.Argument(metavar="[API]", help="One API; all if left out.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json.")] = Output.TABLE,
    admin: Admin = None,
    data: Data = None,
) -> None:
    """List APIs with their state, or one of them, with the reason if it is failing."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    with spoken_errors(), channel_to(admin, data) as channel:
        while True:
            apis = [look(channel, name)] if name else _look_at_all(channel)
            if watch and console.is_terminal:
                console.clear()
            if output is Output.JSON:
                put(json.dumps([_plain(api) for api in apis] if name is None else _plain(apis[0])))
            else:
                console.print(_table(apis))
                for api in apis:
                    if said := remark(api):
                        put(said)
            if not watch:
                return
            time.sleep(WATCH_S)


def describe(name: Name, admin: Admin = None, data: Data = None) -> None:
    """Print all that is known of an API as JSON, its configuration and its workers included."""
    with spoken_errors(), channel_to(admin, data) as channel:
        api = look(channel, name)
        put(json.dumps({**_plain(api), "spec": json.loads(api.spec_json)}, indent=2))


def refresh(name: Name, admin: Admin = None, data: Data = None) -> None:
    """Replace an API's handler processes by fresh ones of the same version, losing nothing, and wait for them."""
    from insula.v1.api_service_pb2 import RefreshApiRequest

    with spoken_errors(), channel_to(admin, data) as channel:
        api = _stub(channel).RefreshApi(RefreshApiRequest(name=name), timeout=CALL_S).api
        failed = _tell_ends(channel, [api], starting(admin, data), "refreshed")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def delete(name: Name, admin: Admin = None, data: Data = None) -> None:
    """Delete an API: what waits is cancelled, what runs is finished, and results can still be read."""
    from insula.v1.api_service_pb2 import DeleteApiRequest

    with spoken_errors(), channel_to(admin, data) as channel:
        cancelled = _stub(channel).DeleteApi(DeleteApiRequest(name=name), timeout=6 * CALL_S).cancelled
        put(f"{name} is deleted; waiting workloads cancelled: {cancelled}")


def _tell_ends(
    channel: grpc.Channel, apis: Sequence[Api], starting: Callable[[], bool], done: str = ApiState.READY
) -> bool:
    """Wait for each API and say what became of it; whether one is failing or was replaced."""
    failed = False
    for api, end in follow(apis, lambda name: look(channel, name), starting=starting):
        put(f"{api.name} {done if end.state == ApiState.READY else end.state}")
        if end.state != ApiState.READY:
            note(remark(api) if end.state == ApiState.FAILING else f"{api.name}: {end.reason}")
        failed = failed or end.state in {ApiState.FAILING, REPLACED}
    return failed


def look(channel: grpc.Channel, name: str) -> Api:
    """The API as it stands."""
    from insula.v1.api_service_pb2 import GetApiRequest

    return _stub(channel).GetApi(GetApiRequest(name=name), timeout=CALL_S).api


def _look_at_all(channel: grpc.Channel) -> list[Api]:
    from insula.v1.api_service_pb2 import ListApisRequest

    return list(_stub(channel).ListApis(ListApisRequest(), timeout=CALL_S).apis)


def _plain(api: Api) -> dict[str, object]:
    workers = [
        {"name": one.name, "version": one.version, "phase": one.phase, "reason": one.reason, "running": one.running}
        for one in api.workers
    ]
    return {
        "name": api.name,
        "endpoint": api.endpoint,
        "state": api.state,
        "reason": api.reason,
        "version": api.version,
        "active_version": api.active_version,
        "created": api.create_time.ToJsonString(),
        "updated": api.update_time.ToJsonString(),
        "workers": workers,
    }


def _table(apis: Iterable[Api]) -> Table:
    from rich.table import Table

    table = Table("api", "endpoint", "state", "workers", "running", "version", "active", "updated", box=None)
    for api in apis:
        ready = [worker for worker in api.workers if worker.phase == Phase.READY]
        names = {worker.name for worker in api.workers}
        running = sum(worker.running for worker in api.workers)
        updated = datetime.fromtimestamp(api.update_time.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
        versions = (api.version[:12], api.active_version[:12] or "-")
        cells = (api.name, api.endpoint, api.state, f"{len(ready)}/{len(names)}", str(running), *versions, updated)
        table.add_row(*map(visible, cells))
    return table


def _stub(channel: grpc.Channel) -> ApiServiceStub:
    from insula.v1.api_service_pb2_grpc import ApiServiceStub

    return ApiServiceStub(channel)
