"""`insula up`: run projects on this machine. Reads the command line, refuses what it can, hands over to `insula.local`.

Exit codes: 0 stopped after it was up, 1 a part did not come up, 2 refused before anything was started,
128 + the signal's number if it was told to stop before it was up.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from insula.local.view import Announcement

_EXIT_REFUSED: Final = 2


def up(
    projects: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PROJECT_DIR]...", help="Project directories; the current one if none is given."),
    ] = None,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where everything is kept between runs.")] = Path(
        ".insula"
    ),
    public_port: Annotated[int, typer.Option("--public-port", min=1, max=65535, help="Port that callers use.")] = 8080,
    public_address: Annotated[
        str,
        typer.Option(
            "--public-address", metavar="IP", help="Address that callers use; 0.0.0.0 lets other machines in."
        ),
    ] = "127.0.0.1",
    internal_address: Annotated[
        str, typer.Option("--internal-address", metavar="IP", help="Loopback address of the parts; one per stack.")
    ] = "127.0.0.1",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON on stdout once every API is ready or has failed.")
    ] = False,
) -> None:
    """Run projects on this machine, everything included, until Ctrl-C."""
    from insula.errors import ProjectInvalid
    from insula.local.run import run
    from insula.local.settings import Refused, Settings

    def announce(announcement: Announcement) -> None:
        typer.echo(announcement.as_json() if as_json else announcement.as_text())

    directories = tuple(dict.fromkeys(path.resolve() for path in projects or [Path.cwd()]))
    settings = Settings(
        projects=directories,
        data=data,
        public_port=public_port,
        public_address=public_address,
        internal_address=internal_address,
    )
    try:
        code = run(settings, announce)
    except (Refused, ProjectInvalid) as error:
        typer.echo(f"insula up: {error}", err=True)
        code = _EXIT_REFUSED
    raise typer.Exit(code)
