"""docs/settings.md, from the settings modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Final

import typer

import insula.cache
import insula.process.service
import insula.settings
import insula_results.settings
import insula_submit.settings
import insula_worker.settings
from insula.cli.main import app
from insula.variables import Variable

INTRODUCTION: Final = """\
# Environment variables

Written by `make reference` from the settings modules; do not edit.

A service reads its variables once, when it starts. A variable that is missing or malformed ends it with a line that
names the variable. `insula up` passes its own environment to the services, so these variables may be set for it. It
sets some itself: addresses, sockets, folders, the bucket, the API, `INSULA_ISOLATION` and `INSULA_GRACE_S`. It starts a
Valkey unless `INSULA_REDIS_URL` is set.
"""
S3: Final = """\
S3 itself is configured by boto3's own variables: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_DEFAULT_REGION`, or a profile. `insula up` sets them and ignores yours, so that no payload reaches an account by
accident. Handlers get the stack's own S3, unless `handler.env` or `.env` names another.
"""
HANDLER: Final = """\
## Handlers

A handler's environment has these layers; a later one wins.

1. the worker's environment, without `AWS_*`, `CORTEX_*`, `INSULA_*`, `PYTHON*`, `VIRTUAL_ENV*` and the settings of
   package managers;
2. `AWS_X` for each `INSULA_HANDLER_AWS_X` of the worker: the S3 account for handlers;
3. `handler.env` of cortex.yaml;
4. `.env` of the project;
5. `INSULA_API`, `INSULA_VERSION`, and the variables that Cortex set: `CORTEX_API_NAME`, `CORTEX_API_KIND`,
   `CORTEX_LOG_LEVEL`, `CORTEX_PROJECT_DIR`, `CORTEX_PYTHON_PATH`.

Names that start with `CORTEX_` or `INSULA_` are refused in 3 and 4.
"""
PARTS: Final[dict[str, tuple[ModuleType, ...]]] = {
    "All services": (insula.settings, insula.process.service, insula.cache),
    "submit": (insula_submit.settings,),
    "results": (insula_results.settings,),
    "worker": (insula_worker.settings,),
}


def declared(modules: Iterable[ModuleType]) -> Iterator[Variable]:
    """Yield the variables that are declared in these modules."""
    for module in modules:
        yield from (value for value in vars(module).values() if isinstance(value, Variable))


def page() -> str:
    """Return the text of docs/settings.md."""
    parts, shared = [INTRODUCTION], set[str]()
    for part, modules in PARTS.items():
        own = [variable for variable in declared(modules) if variable.name not in shared]
        if part == "All services":
            shared = {variable.name for variable in own}
        rows = (f"| `{each.name}` | {each.takes} | {each.without} | {each.meaning} |" for each in own)
        parts += [_table(part, ("variable", "value", "without it", "what it is for"), rows)]
        parts += [S3] if part == "All services" else []
    parts += [_table("Commands", ("variable", "option", "what it is for"), sorted(_of_commands())), HANDLER]
    return "\n".join(parts)


def _table(title: str, head: tuple[str, ...], rows: Iterable[str]) -> str:
    return "\n".join([f"## {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *rows, ""])


def _of_commands() -> set[str]:
    """Return the rows of the variables that replace an option of a command."""
    group = typer.main.get_command(app)
    options = (option for command in getattr(group, "commands", {}).values() for option in command.params)
    named = ((option, getattr(option, "envvar", None), getattr(option, "help", "")) for option in options)
    return {f"| `{name}` | `{option.opts[0]}` | {meaning} |" for option, name, meaning in named if name}
