"""The `insula` program and its list of commands. A command's imports are loaded only when the command runs."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from insula.cli import apis, workloads
from insula.cli.build import build
from insula.cli.init import init
from insula.cli.logs import logs
from insula.cli.render import render
from insula.cli.up import up
from insula.printing import put
from insula.process import startup

EXAMPLES: Final = {
    "init": ("insula init", "insula init my-project --from image"),
    "up": ("insula up", "insula up my-project another-project --watch"),
    "deploy": ("insula deploy my-project", "insula deploy my-project --kubernetes"),
    "build": ("insula build my-project", "insula build my-project --tag registry.example.com/my-project:1 --push"),
    "render": (
        "insula render my-project > my-project.yaml",
        "insula render --image registry.example.com/my-project:1.2",
    ),
    "get": ("insula get --watch", "insula get my-api --output json"),
    "describe": ("insula describe my-api", "insula describe my-api | jq .spec.autoscaling"),
    "logs": ("insula logs --follow", "insula logs my-api --log json | jq -r .message"),
    "refresh": ("insula refresh my-api", "insula refresh my-api --data ~/my-stack/.insula"),
    "delete": ("insula delete my-api", "insula delete my-api --admin 10.0.0.5:8081"),
    "submit": ("insula submit my-api --json '{\"a\": 1}' --wait", "insula submit my-api --file photo.jpg"),
    "result": ("insula result my-api $ID", "insula result my-api $ID --wait | jq .label"),
}
"""Two examples for the end of each command's help."""


def _ending(examples: tuple[str, str]) -> str:
    """Return the examples as paragraphs, because typer joins the lines of a paragraph."""
    return "\n\n".join(["Examples:", *(f"  {example}" for example in examples)])


app = typer.Typer(
    help="Turns a Python Handler class into a durable asynchronous API.",
    epilog=_ending(("insula up examples/language-identifier", "insula submit language-identifier --text Hello --wait")),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    init,
    up,
    apis.deploy,
    build,
    render,
    apis.get,
    apis.describe,
    logs,
    apis.refresh,
    apis.delete,
    workloads.submit,
    workloads.result,
):
    app.command(epilog=_ending(EXAMPLES[command.__name__]))(command)


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
    """Run the program `insula`."""
    startup.begin()
    app()


if __name__ == "__main__":
    run()
