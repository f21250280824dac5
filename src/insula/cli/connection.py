"""How a command reaches a running Insula: by an address it is given, or as the `insula up` of a data directory says.

Exit codes: 1 the call failed, 2 wrong usage or a refused project.
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
    import grpc

DATA_DEFAULT: Final = Path(".insula")
URL_DEFAULT: Final = "http://127.0.0.1:8080"
LOOK_S: Final = 0.5
START_S: Final = 300
"""How long a command waits at most until a stack that starts answers."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
_RECONNECTING: Final = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))

Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        envvar="INSULA_ADMIN",
        metavar="ADDRESS",
        help="Admin address, HOST:PORT or unix:PATH; by default that of the `insula up` of --data.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data directory of the `insula up` to talk to, instead of an address; .insula by default.",
        show_default=False,
    ),
]


class NoStack(NotFound):
    """No `insula up` runs on this data directory."""


def address_of(admin: str | None, data: Path | None) -> str:
    """The address of ApiService. Raises NoStack if none is given and none is found."""
    return admin if admin and data is None else str(_stack(data)["admin"])


def url_of(url: str | None, data: Path | None) -> str:
    """The public URL: given, found or the default. Raises NoStack if there is none where the user says."""
    if url and data is None:
        return url
    if data is None and not _file(DATA_DEFAULT).is_file():
        return URL_DEFAULT
    return str(_stack(data)["public"])


@contextmanager
def channel_to(admin: str | None, data: Path | None) -> Generator[grpc.Channel]:
    """A channel to ApiService, given or found; one that is found may still be starting, and is waited for."""
    address = address_of(admin, data)
    with open_channel(address) as channel:
        if data is not None or not admin:
            _wait_until_it_answers(channel, data or DATA_DEFAULT)
        yield channel


def open_channel(address: str) -> grpc.Channel:
    """A channel to an admin service, with the token of this environment. Raises SettingInvalid."""
    from insula.admin import admin_channel
    from insula.settings import ADMIN_TOKEN, own_environment

    return admin_channel(address, ADMIN_TOKEN.read(own_environment()), _RECONNECTING)


def _wait_until_it_answers(channel: grpc.Channel, data: Path) -> None:
    """Raises NoStack if the stack ends meanwhile, or has ended without a word."""
    import grpc

    from insula.data_directory import holder

    ready, give_up, told = grpc.channel_ready_future(channel), time.monotonic() + START_S, False
    while True:
        try:
            ready.result(timeout=LOOK_S)
        except grpc.FutureTimeoutError:
            if holder(data) is None or time.monotonic() > give_up:
                ready.cancel()
                raise _no_stack(data, "the one that was there does not answer") from None
            if not told:
                note(f"insula: the stack of {data} is starting; waiting until it answers")
            told = True
        else:
            return


def starting(admin: str | None, data: Path | None) -> Callable[[], bool]:
    """Whether an `insula up` found by its data directory runs, and may still be starting what is asked for."""
    from insula.data_directory import holder

    give_up, found = time.monotonic() + START_S, data is not None or not admin
    return lambda: found and time.monotonic() < give_up and holder(data or DATA_DEFAULT) is not None


def _file(data: Path) -> Path:
    from insula.data_directory import stack_file

    return stack_file(data)


def _stack(data: Path | None) -> dict[str, Any]:
    """What the stack says of itself: the object of `insula up --json`."""
    path = _file(data or DATA_DEFAULT)
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise _no_stack(data or DATA_DEFAULT, f"no {path} here") from None
    return found


def _no_stack(data: Path, why: str) -> NoStack:
    up = "`insula up` in this directory" if data == DATA_DEFAULT else f"`insula up --data {shlex.quote(str(data))}`"
    return NoStack(
        f"there is no Insula to talk to: {why}. Start one with {up}, name its data directory with "
        "--data DIR, or its admin address with --admin HOST:PORT or --admin unix:PATH (INSULA_ADMIN)"
    )


def _advice(error: grpc.RpcError) -> str:
    """What the service says, or, if none does, what to look at."""
    import grpc

    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return (
            "no Insula answers at this admin address; check that `insula up` is running, and that --admin or "
            f"INSULA_ADMIN, if set, is the admin address that it prints ({error.details()})"
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
        raise typer.Exit(EXIT_USAGE if isinstance(error, InvalidArgument | NoStack) else EXIT_FAILED) from None
    except grpc.RpcError as error:
        note(f"insula: {_advice(error)}")
        raise typer.Exit(EXIT_FAILED) from None
