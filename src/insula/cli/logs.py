"""`insula logs`: the log lines of workers and their handlers, from all replicas.

On a terminal, lines look as in the output of `insula up`. On a pipe, they are the worker's JSON, byte for byte.
"""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from insula.cli.completion import complete_api
from insula.cli.connection import (
    EXIT_FAILED,
    LOOK_S,
    Admin,
    Data,
    address_of,
    admin_of,
    client_at,
    spoken_errors,
    starting,
)
from insula.printing import note, put
from insula.telemetry.log_lines import LogForm

if TYPE_CHECKING:
    from insula.rpc.admin_client import AdminClient
    from insula.v1.api_service_pb2 import Api

LINES_WAITING_MAX: Final = 10_000
"""Most lines held in memory for a slow terminal. At this number, the command stops reading from the workers. A worker
then drops its oldest lines, and later sends a line that reports how many it dropped."""
BEGUN: Final = 1
ENDED: Final = -1
Lines: TypeAlias = queue.Queue[str | int]
"""A queue of log lines. It also gets ENDED when the lines of a worker end, and BEGUN for each worker found later."""
_ASCTIME: Final = re.compile('"asctime": "([^"]*)"')


def logs(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[API]",
            help="Name of the API. Default: all APIs.",
            show_default=False,
            autocompletion=complete_api,
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Keep printing new lines, also of new workers, until Ctrl-C."),
    ] = False,
    workload: Annotated[
        str, typer.Option("--workload", metavar="ID", help="Only the lines of this workload.", show_default=False)
    ] = "",
    form: Annotated[
        LogForm | None,
        typer.Option(
            "--log",
            help="plain: for people. json: for programs. Default: plain on a terminal, else json.",
            show_default=False,
        ),
    ] = None,
    admin: Admin = None,
    data: Data = None,
) -> None:
    """Print the latest log lines of an API's workers, or of all APIs' workers."""
    show = _printer(form)
    with spoken_errors(), admin_of(admin, data) as client:
        addresses = _addresses(client, name, starting(admin, data))
        found_at = address_of(admin, data)
    if not addresses:
        note(f"insula: no worker{f' of {name}' if name else ''} has reported lately")
        raise typer.Exit(EXIT_FAILED)
    lines: Lines = queue.Queue(LINES_WAITING_MAX)
    lost: list[str] = []

    def begin(address: str) -> None:
        threading.Thread(target=_read, args=(address, workload, follow, lines, lost), daemon=True).start()

    for address in addresses:
        begin(address)
    if follow:
        later = (client_at(found_at), name, {*addresses}, lines, begin)
        threading.Thread(target=_begin_later, args=later, daemon=True).start()
    read = _until_all_ended(lines, len(addresses))
    for line in read if follow or len(addresses) == 1 else sorted(read, key=_time_of):
        show(line)
    if lost:
        command = f"insula logs {name}" if name else "insula logs"
        note(f"insula: {'; '.join(lost)}; once it answers again, `{command}` prints the missing lines")
        raise typer.Exit(EXIT_FAILED)


def _printer(form: LogForm | None) -> Callable[[str], None]:
    """Return the function that prints a line in this form. If it is None, lines are plain on a terminal, else JSON."""
    if (form or (LogForm.PLAIN if sys.stdout.isatty() else LogForm.JSON)) is LogForm.JSON:
        return put
    from insula.cli.screen.styled import console, text
    from insula.telemetry.log_lines import parse, plain, rows

    if not sys.stdout.isatty():
        return lambda line: put("\n".join(map(plain, rows(parse(line)))))
    terminal = console()

    def show(line: str) -> None:
        for row in rows(parse(line)):
            terminal.print(text(row))

    return show


def _addresses(client: AdminClient, name: str | None, starting: Callable[[], bool]) -> list[str]:
    """Return the admin addresses of the workers. If there are none and the stack is starting, wait for the first."""
    told = False
    while not (workers := [worker for api in _apis(client, name) for worker in api.workers]) and starting():
        if not told:
            note(f"insula: no worker{f' of {name}' if name else ''} has reported yet; waiting for one")
        told = True
        time.sleep(LOOK_S)
    return sorted({worker.address for worker in workers})


def _apis(client: AdminClient, name: str | None) -> list[Api]:
    return [client.api(name)] if name else client.apis()


def _begin_later(
    client: AdminClient, name: str | None, begun: set[str], lines: Lines, begin: Callable[[str], None]
) -> None:
    """Look for new workers until the command ends. For each, put BEGUN into `lines` and call `begin(address)`."""
    from insula.rpc.admin_client import AdminRefused, AdminUnavailable

    while True:
        time.sleep(LOOK_S)
        with suppress(AdminRefused, AdminUnavailable):
            found = {worker.address for api in _apis(client, name) for worker in api.workers} - begun
            for address in found:
                lines.put(BEGUN)
                begin(address)
            begun |= found


def _until_all_ended(lines: Lines, readers: int) -> Iterator[str]:
    """Yield the lines until the lines of all workers have ended. `readers` is the number of workers at the start."""
    while readers:
        line = lines.get()
        if isinstance(line, int):
            readers += line
        else:
            yield line


def _time_of(line: str) -> str:
    found = _ASCTIME.search(line)
    return found[1] if found else ""


def _read(address: str, workload: str, follow: bool, lines: Lines, lost: list[str]) -> None:
    """Put the log lines of the worker at `address` into `lines`, then ENDED.

    If the worker becomes unavailable, add the reason to `lost`.
    """
    from insula.rpc.admin_client import AdminRefused, AdminUnavailable

    try:
        with client_at(address) as client:
            _put_all(client.log_lines(follow=follow, workload=workload), lines)
    except (AdminRefused, AdminUnavailable) as error:
        lost.append(f"the worker at {address} is unavailable: {error.detail}")
    finally:
        lines.put(ENDED)


def _put_all(found: Iterable[str], lines: Lines) -> None:
    for line in found:
        lines.put(line)
