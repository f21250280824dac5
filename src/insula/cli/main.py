"""The `insula` command: which commands there are. Each imports what it needs only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from insula import startup
from insula.cli import apis, workloads
from insula.cli.init import init
from insula.cli.logs import logs
from insula.cli.up import up
from insula.printing import put

app = typer.Typer(
    help="Turns a Python Handler class into a durable asynchronous API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog="Examples:\n\n  insula init\n\n  insula init my-project --from image")(init)
app.command()(up)
app.command()(apis.deploy)
app.command()(apis.get)
app.command()(apis.describe)
app.command()(logs)
app.command()(apis.refresh)
app.command()(apis.delete)
app.command()(workloads.submit)
app.command()(workloads.result)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        put(f"insula {version('insula')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turns a Python Handler class into a durable asynchronous API."""


def run() -> None:
    """The program `insula`."""
    startup.begin()
    app()


if __name__ == "__main__":
    run()
