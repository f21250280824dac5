"""`insula deploy`, `get`, `describe`, `refresh` and `delete`: the APIs of a running Insula, over its admin address.

What a program would want is on stdout; everything for the eye is on stderr.
Exit codes: 0 done, 1 the API is failing or the call failed, 2 wrong usage or a refused project.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from insula.addresses import is_this_machine
from insula.errors import InsulaError, ProjectInvalid
from insula.printing import note, put, visible

if TYPE_CHECKING:
    import grpc
    from rich.table import Table

    from insula.v1.api_service_pb2 import Api
    from insula.v1.api_service_pb2_grpc import ApiServiceStub

STACK_FILE: Final = Path(".insula", "run", "stack.json")
"""Where `insula up` with its default --data says how it is reached."""
CALL_S: Final = 10
LOOK_S: Final = 0.5
WATCH_S: Final = 2.0
UNSERVED_S: Final = 10.0
"""After this long without any worker, `insula deploy` stops waiting for one."""
PIPE_COLUMNS: Final = 240
"""Width of a table that no terminal limits: nothing is cut."""
_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2


class Output(StrEnum):
    """How `insula get` prints."""

    TABLE = "table"
    JSON = "json"


Name = Annotated[str, typer.Argument(metavar="API", help="Name of the API.", show_default=False)]
Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        envvar="INSULA_ADMIN",
        metavar="ADDRESS",
        help="Admin address, HOST:PORT or unix:PATH; by default that of the `insula up` of this directory.",
        show_default=False,
    ),
]


def deploy(
    config: Annotated[Path, typer.Argument(metavar="[CONFIG]", help="Project directory or configuration.")] = Path(),
    admin: Admin = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Run the project's dependencies.sh, if it is this machine, without asking.")
    ] = False,
) -> None:
    """Deploy a project's APIs, and wait until each is ready or failing. The version before serves until then."""
    from insula.cli.consent import confirm_scripts
    from insula.deploy import deploy as send
    from insula.local.settings import own_environment
    from insula.project import read_project

    failing = False
    with spoken_errors():
        projects, address = read_project(config), admin_address(admin)
        if is_this_machine(address):
            confirm_scripts("insula deploy", {project.config_path for project in projects}, own_environment(), yes=yes)
    with spoken_errors(), channel_to(address) as channel:
        for project in projects:
            api = send(channel, project.spec, project.bundle().data)
            note(f"{api.name}: version {api.version[:12]} at {api.endpoint}")
            settled = _settled(channel, api)
            replaced = settled.version != api.version
            put(f"{api.name} {'replaced' if replaced else settled.state}")
            if why := _by(settled) if replaced else settled.reason or _unserved(settled):
                note(why)
            failing = failing or replaced or settled.state == "failing"
    if failing:
        raise typer.Exit(_EXIT_FAILED)


def get(
    name: Annotated[
        str | None, typer.Argument(metavar="[API]", help="One API; all if left out.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json.")] = Output.TABLE,
    admin: Admin = None,
) -> None:
    """List APIs with their state, or one of them, with the reason if it is failing."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    with spoken_errors(), channel_to(admin) as channel:
        while True:
            apis = [look(channel, name)] if name else _look_at_all(channel)
            if watch and console.is_terminal:
                console.clear()
            if output is Output.JSON:
                put(json.dumps([_plain(api) for api in apis] if name is None else _plain(apis[0])))
            else:
                console.print(_table(apis))
                for api in apis:
                    if api.reason:
                        put(f"{api.name} is failing: {api.reason}")
            if not watch:
                return
            time.sleep(WATCH_S)


def describe(name: Name, admin: Admin = None) -> None:
    """Print all that is known of an API as JSON, its configuration and its workers included."""
    with spoken_errors(), channel_to(admin) as channel:
        api = look(channel, name)
        put(json.dumps({**_plain(api), "spec": json.loads(api.spec_json)}, indent=2))


def refresh(name: Name, admin: Admin = None) -> None:
    """Replace an API's handler processes by fresh ones of the same version, losing nothing."""
    from insula.v1.api_service_pb2 import RefreshApiRequest

    with spoken_errors(), channel_to(admin) as channel:
        _stub(channel).RefreshApi(RefreshApiRequest(name=name), timeout=CALL_S)
        put(f"{name} is being refreshed")


def delete(name: Name, admin: Admin = None) -> None:
    """Delete an API: what waits is cancelled, what runs is finished, and results can still be read."""
    from insula.v1.api_service_pb2 import DeleteApiRequest

    with spoken_errors(), channel_to(admin) as channel:
        cancelled = _stub(channel).DeleteApi(DeleteApiRequest(name=name), timeout=6 * CALL_S).cancelled
        put(f"{name} is deleted; waiting workloads cancelled: {cancelled}")


def _settled(channel: grpc.Channel, api: Api) -> Api:
    """The API once this version of it is ready, failing or replaced, or when no worker turns up for it."""
    version, give_up = api.version, time.monotonic() + UNSERVED_S
    while api.version == version and api.state == "pending" and (api.workers or time.monotonic() < give_up):
        time.sleep(LOOK_S)
        api = look(channel, api.name)
    return api


def _by(api: Api) -> str:
    return f"somebody deployed version {api.version[:12]} before this one was ready"


def _unserved(api: Api) -> str:
    return "" if api.workers else "no worker serves it yet; start one with INSULA_API set to its name"


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
        ready = [worker for worker in api.workers if worker.phase == "ready"]
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


@contextmanager
def channel_to(admin: str | None) -> Generator[grpc.Channel]:
    """A channel to ApiService, given or found. Raises ProjectInvalid if there is none to be found."""
    with open_channel(admin_address(admin)) as channel:
        yield channel


def open_channel(address: str) -> grpc.Channel:
    """A channel to an admin service, with the token of this environment. Raises SettingInvalid."""
    from insula.admin import admin_channel
    from insula.local.settings import own_environment
    from insula.settings import secret

    return admin_channel(address, secret(own_environment(), "INSULA_ADMIN_TOKEN"))


def admin_address(admin: str | None) -> str:
    """The address of ApiService, given or found. Raises ProjectInvalid if there is none to be found."""
    if not admin and not STACK_FILE.is_file():
        raise ProjectInvalid(
            f"there is no Insula to talk to: no {STACK_FILE} here. Start one with `insula up` in this directory, "
            "or name its admin address with --admin HOST:PORT or --admin unix:PATH (INSULA_ADMIN)"
        )
    return admin or str(json.loads(STACK_FILE.read_text(encoding="utf-8"))["admin"])


def _advice(error: grpc.RpcError) -> str:
    """What the service says, or, if none does, what to look at."""
    import grpc

    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return (
            "no Insula answers at this admin address; check that `insula up` is running, and that --admin or "
            f'INSULA_ADMIN, if set, is what it prints as "admin" ({error.details()})'
        )
    return error.details() or str(error.code())


@contextmanager
def spoken_errors() -> Generator[None]:
    """Say an error in one paragraph, without a traceback."""
    import grpc

    try:
        yield
    except InsulaError as error:
        note(f"insula: {error}")
        raise typer.Exit(_EXIT_USAGE if isinstance(error, ProjectInvalid) else _EXIT_FAILED) from None
    except grpc.RpcError as error:
        note(f"insula: {_advice(error)}")
        raise typer.Exit(_EXIT_FAILED) from None
