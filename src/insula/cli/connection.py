"""Finds the running Insula for a command: at a given address, or by the data directory of an `insula up`.

Exit codes: 1 the call failed, 2 wrong usage, a refused project or no running stack.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from insula.errors import InsulaError, InvalidArgument, NotFound
from insula.printing import note

if TYPE_CHECKING:
    from insula.rpc.admin_client import AdminClient

DATA_DEFAULT: Final = Path(".insula")
URL_DEFAULT: Final = "http://127.0.0.1:8080"
LOOK_S: Final = 0.5
START_S: Final = 300
"""Longest time that a command waits for a stack that is starting."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
_RECONNECTING: Final = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))

Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        envvar="INSULA_ADMIN",
        metavar="ADDRESS",
        help="Admin address, HOST:PORT or unix:PATH. Default: that of the stack in the data directory.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data directory of the stack. Default: .insula.",
        show_default=False,
    ),
]


class NoStack(NotFound):
    """No `insula up` runs on this data directory."""


def address_of(admin: str | None, data: Path | None) -> str:
    """Return the address of ApiService: that of the stack in `data` if given, else `admin`.

    Without both, it is that of the stack in .insula. Raises NoStack if the data directory has no stack.
    """
    return admin if admin and data is None else str(_stack(data)["admin"])


def url_of(url: str | None, data: Path | None) -> str:
    """Return the public URL: that of the stack in `data` if given, else `url`.

    Without both, it is that of the stack in .insula, else URL_DEFAULT. Raises NoStack if `data` has no stack.
    """
    if url and data is None:
        return url
    if data is None and not _file(DATA_DEFAULT).is_file():
        return URL_DEFAULT
    return str(_stack(data)["public"])


@contextmanager
def admin_of(admin: str | None, data: Path | None) -> Generator[AdminClient]:
    """Yield a client of ApiService at `address_of(admin, data)`. Waits while a stack of this machine is starting.

    Raises NoStack as `address_of` does, or if the stack does not answer within START_S.
    """
    with client_at(address_of(admin, data)) as client:
        if data is not None or not admin:
            _wait_until_it_answers(client, data or DATA_DEFAULT)
        yield client


def client_at(address: str) -> AdminClient:
    """Return a client of an admin service, with the token from the environment. Raises SettingInvalid."""
    from insula.rpc.admin_client import AdminClient
    from insula.settings import ADMIN_TOKEN, own_environment

    return AdminClient.at(address, ADMIN_TOKEN.read(own_environment()), _RECONNECTING)


def _wait_until_it_answers(client: AdminClient, data: Path) -> None:
    """Return once the stack answers. Raises NoStack if its process has ended, or after START_S."""
    from insula.data_directory import holder

    give_up, told = time.monotonic() + START_S, False
    while not client.answers(LOOK_S):
        if holder(data) is None or time.monotonic() > give_up:
            raise _no_stack(data, "the last one started there does not answer")
        if not told:
            note(f"insula: the stack of {data} is starting; waiting until it answers")
        told = True


def starting(admin: str | None, data: Path | None) -> Callable[[], bool]:
    """Return a function that returns whether the stack of this data directory may still be starting workers.

    The function returns True while `insula up` runs in the directory, for at most START_S. If only `admin` is given,
    the function always returns False.
    """
    from insula.data_directory import holder

    give_up, found = time.monotonic() + START_S, data is not None or not admin
    return lambda: found and time.monotonic() < give_up and holder(data or DATA_DEFAULT) is not None


def _file(data: Path) -> Path:
    from insula.data_directory import stack_file

    return stack_file(data)


def _stack(data: Path | None) -> dict[str, Any]:
    """Return the addresses of the stack: the JSON object that `insula up --json` prints. Raises NoStack."""
    path = _file(data or DATA_DEFAULT)
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise _no_stack(data or DATA_DEFAULT, f"no {path} here") from None
    return found


def _no_stack(data: Path, why: str) -> NoStack:
    up = "`insula up` in this directory" if data == DATA_DEFAULT else f"`insula up --data {shlex.quote(str(data))}`"
    return NoStack(
        f"no running Insula found: {why}. Start one with {up}, name its data directory with "
        "--data DIR, or its admin address with --admin HOST:PORT or --admin unix:PATH (INSULA_ADMIN)"
    )


@contextmanager
def spoken_errors(interrupted: str = "") -> Generator[None]:
    """Print an InsulaError or OSError of the `with` block without its traceback, and raise Exit.

    `interrupted` is printed after a Ctrl-C. Without it, the KeyboardInterrupt is raised again.
    """
    try:
        yield
    except BrokenPipeError:  # the reader closed the pipe: click exits 1 without a message
        raise
    except (InsulaError, OSError) as error:
        note(f"insula: {error}")
        raise typer.Exit(EXIT_USAGE if isinstance(error, InvalidArgument | NoStack) else EXIT_FAILED) from None
    except KeyboardInterrupt:
        if not interrupted:
            raise
        note(f"insula: {interrupted}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
