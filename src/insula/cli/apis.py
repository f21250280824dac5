"""`insula deploy`, `get`, `describe`, `refresh` and `delete`: the APIs of a running Insula, over its admin address.

Output for programs is on stdout; messages for people are on stderr.
Exit codes: 0 done, 1 the API is failing or the call failed, 2 wrong usage or a refused project.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from insula.cli.completion import complete_api
from insula.cli.connection import (
    DATA_DEFAULT,
    EXIT_FAILED,
    Admin,
    Data,
    address_of,
    admin_of,
    spoken_errors,
    starting,
)
from insula.cli.progress import REPLACED, follow, remark
from insula.cli.render import (
    Config,
    Grace,
    Image,
    Initial,
    Keda,
    Namespace,
    Plain,
    Replicas,
    Tolerance,
    apply,
    options,
)
from insula.errors import InvalidArgument
from insula.phase import ApiState, Phase
from insula.printing import note, put, visible
from insula.rpc.addresses import is_this_machine
from insula.status import Status

if TYPE_CHECKING:
    from rich.table import Table

    from insula.project import Project
    from insula.rpc.admin_client import AdminClient
    from insula.v1.api_service_pb2 import Api

PIPE_COLUMNS: Final = 240
"""Width of a table on a pipe, in characters. It is large enough that nothing is cut."""


class Output(StrEnum):
    """The output format of `insula get`."""

    TABLE = "table"
    JSON = "json"


Name = Annotated[
    str, typer.Argument(metavar="API", help="Name of the API.", show_default=False, autocompletion=complete_api)
]


def deploy(
    config: Config = Path(),
    admin: Admin = None,
    data: Data = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before the dependencies.sh of the project runs on this machine.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--api", metavar="NAME", help="Deploy only this API. May be repeated. Default: all.", show_default=False
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="--wait: wait until each API is ready or failing. --no-wait: return at once. Default: --wait.",
            show_default=False,
        ),
    ] = True,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Apply the output of `insula render` with kubectl, and do not wait.")
    ] = False,
    image: Image = None,
    namespace: Namespace = "insula",
    grace: Grace = 3600,
    keda: Keda = True,
    replicas: Replicas = None,
    initial: Initial = False,
    tolerance: Tolerance = False,
    plain: Plain = False,
) -> None:
    """Deploy a project's APIs, and wait until each is ready or failing. If a new version fails, the old one serves."""
    from insula.project import read_project

    with spoken_errors():
        chosen = options(image, namespace, grace, keda, replicas, initial, tolerance, plain)
        project = read_project(config)
        projects = _named(project, only or [])
        if kubernetes:
            apply(project, chosen, only or [])
            if not chosen.plain:  # otherwise a Job registers the APIs
                return
        elif chosen != type(chosen)():
            raise InvalidArgument("the options of `insula render` need --kubernetes")
        else:
            _confirm(projects, address_of(admin, data), data, yes=yes)
    _register(projects, admin, data, wait=wait and not kubernetes)


def _named(project: Sequence[Project], names: Sequence[str]) -> Sequence[Project]:
    """Return the APIs with these names, or all APIs if `names` is empty. Raises InvalidArgument for an unknown name."""
    known = {each.spec.name for each in project}
    if unknown := [name for name in names if name not in known]:
        raise InvalidArgument(
            f"{project[0].config_path.name} has no API {unknown[0]}; it has {', '.join(sorted(known))}"
        )
    return [each for each in project if not names or each.spec.name in names]


def _confirm(projects: Sequence[Project], address: str, data: Path | None, *, yes: bool) -> None:
    """If the stack is on this machine, ask before dependencies.sh runs, and warn about keys that have no effect.

    Raises ProjectInvalid if the user refuses a script.
    """
    from insula.cli.consent import confirm_scripts
    from insula.data_directory import cache_of
    from insula.project.configuration.effects import ineffective_keys, warning
    from insula.settings import own_environment

    if is_this_machine(address):
        cache = cache_of((data or DATA_DEFAULT).absolute(), own_environment())
        confirm_scripts("insula deploy", {project.config_path for project in projects}, cache, yes=yes)
        for project in projects:
            if keys := ineffective_keys(project.spec):
                note(f"insula deploy: {warning(project.spec.name, keys)}")


def _register(projects: Sequence[Project], admin: str | None, data: Path | None, *, wait: bool) -> None:
    """Send the APIs to ApiService; with `wait`, wait until each is ready or failing.

    Raises Exit if an API is refused or, with `wait`, is failing or was replaced by another version.
    """
    from insula.rpc.admin_client import AdminRefused

    with spoken_errors():
        archives = [project.bundle() for project in projects]
    with spoken_errors(), admin_of(admin, data) as client:
        before = {api.name: api.version for api in client.apis()}
        refused = False
        sent: list[Api] = []
        for project, archive in zip(projects, archives, strict=True):
            try:
                api = client.deploy(project.spec, archive)
            except AdminRefused as error:
                note(f"insula: {project.spec.name}: {error}")
                refused = True
                continue
            unchanged = ", unchanged" if before.get(api.name) == api.version else ""
            note(f"{api.name}: version {api.version[:12]} at {api.endpoint}{unchanged}")
            sent.append(api)
        failed = wait and _tell_ends(client, sent, starting(admin, data))
    if refused or failed:
        raise typer.Exit(EXIT_FAILED)


def get(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[API]", help="Name of the API. Default: all APIs.", show_default=False, autocompletion=complete_api
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it every 2 s, with the workloads by status, until Ctrl-C.")
    ] = False,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="table: for people. json: for programs.")
    ] = Output.TABLE,
    admin: Admin = None,
    data: Data = None,
) -> None:
    """List all APIs, or one API, with the state. A failing API is shown with the reason."""
    with spoken_errors(), admin_of(admin, data) as client:

        def look() -> list[Api]:
            return [client.api(name)] if name else client.apis()

        if not watch:
            _print_apis(look(), output, one=name is not None)
            return
        from insula.cli.screen import watching

        if output is Output.TABLE:
            watching.show(look)
        for apis in watching.looks(look):
            _print_apis(apis, output, one=name is not None)


def _print_apis(apis: list[Api], output: Output, *, one: bool) -> None:
    if output is Output.JSON:
        put(json.dumps(_plain(apis[0]) if one else [_plain(api) for api in apis]))
        return
    from insula.cli.screen.styled import console

    screen = console()
    if not screen.is_terminal:
        screen.width = PIPE_COLUMNS
    screen.print(_table(apis))
    for api in apis:
        if said := remark(api):
            put(said)


def describe(name: Name, admin: Admin = None, data: Data = None) -> None:
    """Print all details of an API as JSON, including its configuration and its workers."""
    with spoken_errors(), admin_of(admin, data) as client:
        api = client.api(name)
        put(json.dumps({**_plain(api), "spec": json.loads(api.spec_json)}, indent=2))


def refresh(name: Name, admin: Admin = None, data: Data = None) -> None:
    """Start an API's handler again, for example to load a changed model, and wait for it. No workload is lost."""
    with spoken_errors(), admin_of(admin, data) as client:
        api = client.refresh(name)
        failed = _tell_ends(client, [api], starting(admin, data), "refreshed")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def delete(name: Name, admin: Admin = None, data: Data = None) -> None:
    """Delete an API, without asking. Waiting workloads are cancelled, running ones finish, results can be read."""
    with spoken_errors(), admin_of(admin, data) as client:
        cancelled = client.delete(name)
        put(f"{name} is deleted; waiting workloads cancelled: {cancelled}")


def _tell_ends(
    client: AdminClient, apis: Sequence[Api], starting: Callable[[], bool], done: str = ApiState.READY
) -> bool:
    """Wait for each API and print its final state. For a ready API, print `done`.

    `starting` returns whether the stack may still be starting workers. Return whether an API is failing or was replaced
    by another version.
    """
    failed = False
    for api, end in follow(apis, client.api, starting=starting):
        put(f"{api.name} {done if end.state == ApiState.READY else end.state}")
        if end.state != ApiState.READY:
            note(remark(api) if end.state == ApiState.FAILING else f"{api.name}: {end.reason}")
        failed = failed or end.state in {ApiState.FAILING, REPLACED}
    return failed


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
        "workloads": {status: getattr(api.workloads, status) for status in Status},
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
