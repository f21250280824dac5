"""`insula submit` and `insula result`: one workload from the command line.

Output for programs, the id or the JSON result, is on stdout; messages for people are on stderr.
Exit codes: 0 done, 1 the workload failed or the call did, 2 wrong usage, 3 the workload has not ended yet.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from insula.cli.completion import complete_api
from insula.cli.connection import EXIT_FAILED, URL_DEFAULT, Admin, Data, spoken_errors, url_of
from insula.cli.tracebacks import show_traceback
from insula.errors import InvalidArgument
from insula.printing import note, put

if TYPE_CHECKING:
    from insula.client import Client, Workload

_BYTES: Final = "application/octet-stream"
_EXIT_PENDING: Final = 3
_INTERRUPTED: Final = "interrupted; a submitted workload keeps running, and `insula result` shows it"

Api = Annotated[
    str, typer.Argument(metavar="API", help="Name of the API.", show_default=False, autocompletion=complete_api)
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="INSULA_URL",
        help=f"URL of the public listener. Default: that of the stack in the data directory, else {URL_DEFAULT}.",
        show_default=False,
    ),
]


def submit(
    api: Api,
    json_text: Annotated[
        str | None, typer.Option("--json", metavar="JSON", help="Send this JSON.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="PATH",
            help="Send this file. Its name decides the Content-Type. - is standard input.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="Send this text.", show_default=False)
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option(
            "--content-type", help="Content-Type, in place of the one of the option above.", show_default=False
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for the end of the workload, without a time limit, and print the result."),
    ] = False,
    url: Url = None,
    admin: Admin = None,
    data: Data = None,
) -> None:
    """Submit a payload and print the id; with --wait, print the result. Needs one of --json, --file and --text."""
    with (
        spoken_errors(_INTERRUPTED),
        _payload(json_text, file, text) as (payload, usual_type),
        _client(url, data) as client,
    ):
        id = client.submit(api, payload, content_type=content_type or usual_type)
        if not wait:
            put(id)
            return
        note(f"{id} submitted")
        _print_end(client.wait(api, id), url, admin, data)


def result(
    api: Api,
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the workload.", show_default=False)],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end of the workload, without a time limit.")
    ] = False,
    url: Url = None,
    admin: Admin = None,
    data: Data = None,
) -> None:
    """Print the result of a workload, or why it failed. Exits 1 if it failed, 3 if it has not ended."""
    with spoken_errors(_INTERRUPTED), _client(url, data) as client:
        _print_end(client.wait(api, id) if wait else client.get(api, id), url, admin, data)


def _print_end(workload: Workload, url: str | None, admin: str | None, data: Path | None) -> None:
    """Print the result on stdout, and status, failure and traceback on stderr.

    Raises Exit with code 1 if the workload ended without a result, with code 3 if it has not ended.
    """
    if workload.result_json is not None:
        note(workload.status)
        # The handler's own bytes, so that jq reads exactly what the handler returned.
        put(workload.result_json)
        return
    why = f": {workload.failure.reason}: {workload.failure.message}" if workload.failure else ""
    note(f"{workload.status}{why}")
    show_traceback(workload, url, admin, data)
    raise typer.Exit(EXIT_FAILED if workload.ended else _EXIT_PENDING)


def _client(url: str | None, data: Path | None) -> Client:
    # Not at the top, because `insula --help` should not load gRPC.
    from insula.client import Client

    return Client(url_of(url, data))


@contextlib.contextmanager
def _payload(
    json_text: str | None, file: str | None, text: str | None
) -> Generator[tuple[bytes | str | BinaryIO, str | None]]:
    """Yield the payload of the command line and its Content-Type, which is None if the client chooses it.

    Raises InvalidArgument unless exactly one of the three options is given.
    """
    given = [option for option in (json_text, file, text) if option is not None]
    if len(given) != 1:
        raise InvalidArgument("give the payload with exactly one of --json, --file and --text")
    if json_text is not None:
        yield _checked_json(json_text), "application/json"
    elif text is not None:
        yield text, None
    elif file == "-":
        yield sys.stdin.buffer, None
    elif file is not None:
        with _opened(Path(file)) as source:
            yield source, _type_of(file)


def _checked_json(text: str) -> bytes:
    """Return the text unchanged, as bytes. Raises InvalidArgument if it is not JSON: the workload would fail."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"--json: is not valid JSON: {error}") from None
    return text.encode()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidArgument(f"--file: {path}: {error.strerror}") from None


def _type_of(file: str) -> str:
    guess, encoding = mimetypes.guess_type(file)
    return guess if guess and not encoding else _BYTES
