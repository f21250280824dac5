"""docs/settings.md, from the settings modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Final

import typer

import insula.cache
import insula.process.service
import insula.settings
import insula_envoy.settings
import insula_results.settings
import insula_submit.settings
import insula_worker.settings
from insula.cli.main import app
from insula.variables import Variable

INTRODUCTION: Final = """\
# Settings

<!-- Written by `make reference` from the settings modules; do not edit. -->

Settings are environment variables. Set them in the shell in which you start `insula up`. Each service reads its
variables once, when it starts. If a variable is missing or malformed, the service ends with a line that names it.

`insula up` sets many variables of its services itself. The column `insula up` says which ones you may set:

- **yes**: you may set it; `insula up` passes it on.
- **no**: `insula up` sets it, or does not need it, and ignores your value.

Variables with "no" are for services in [containers](images.md). The [glossary](glossary.md) explains the words of this
page.
"""
S3: Final = """\
With `INSULA_REDIS_URL` or `INSULA_REDIS_URL_FILE`, `insula up` uses your Redis and starts no Valkey. All services of a
stack need the same `INSULA_LEASE_S`, `INSULA_RETENTION_S` and `INSULA_MAX_DELIVERIES`.

boto3's own variables configure S3: `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_DEFAULT_REGION`, or a profile. `insula up` sets them for its services and ignores yours, so that no payload reaches
an AWS account by accident. [Handlers](#handlers) says which S3 a handler reaches.
"""
HANDLER: Final = """\
An admin service on TCP requires the metadata `authorization: Bearer <token>`. The commands send it from
`INSULA_ADMIN_TOKEN`. With `insula up` the admin services listen on Unix sockets and require no token.

## Handlers

The environment variables of a handler come from these places. If two places set the same variable, the later one wins.

1. The environment of the worker, without `AWS_*`, `CORTEX_*`, `INSULA_*`, `PYTHON*` and `VIRTUAL_ENV*`, and without the
   variables of pip, conda and uv that change where packages are installed.
2. The stack's S3. The worker's variable `INSULA_HANDLER_AWS_ACCESS_KEY_ID` becomes the handler's `AWS_ACCESS_KEY_ID`,
   and so on for each `INSULA_HANDLER_AWS_X`. `insula up` sets them.
3. `handler.env` of cortex.yaml.
4. The file `.env` of the project.
5. `INSULA_API`, `INSULA_VERSION`, and the variables that Cortex set: `CORTEX_API_NAME`, `CORTEX_API_KIND`,
   `CORTEX_LOG_LEVEL`, `CORTEX_PROJECT_DIR`, `CORTEX_PYTHON_PATH`.

If `handler.env` or `.env` names an AWS account, the handler gets neither the address nor the keys of the stack's S3:
see [S3](from-cortex.md#s3). Names in `handler.env` and `.env` that start with `CORTEX_` or `INSULA_` are refused.
"""
MAY_BE_SET: Final = frozenset({
    "INSULA_REDIS_URL", "INSULA_REDIS_USER", "INSULA_REDIS_PASSWORD", "INSULA_REDIS_CA_FILE", "INSULA_DURABILITY",
    "INSULA_LEASE_S", "INSULA_RETENTION_S", "INSULA_MAX_DELIVERIES", "INSULA_PAYLOAD_BYTES_MAX", "INSULA_LOG_LEVEL",
    "INSULA_CACHE", "INSULA_START_TIMEOUT_S",
})  # fmt: skip
"""The variables of the user that `insula up` uses or passes to its parts. A test checks this list."""
INSTEAD: Final = {
    "INSULA_ISOLATION": "no: `--isolation`",
    "INSULA_GRACE_S": "no: 5 s",
}
PARTS: Final[dict[str, tuple[ModuleType, ...]]] = {
    "All services": (insula.settings, insula.process.service, insula.cache),
    "submit": (insula_submit.settings,),
    "results": (insula_results.settings,),
    "worker": (insula_worker.settings,),
    "edge in a container": (insula_envoy.settings,),
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
        rows = (
            f"| `{each.name}` | {each.takes} | {each.without} | {_with_up(each)} | {each.meaning} |" for each in own
        )
        parts += [_table(part, ("variable", "value", "default", "`insula up`", "meaning"), rows)]
        parts += [S3] if part == "All services" else []
    parts += [_table("Commands", ("variable", "option", "meaning"), sorted(_of_commands())), HANDLER]
    return "\n".join(parts)


def _with_up(variable: Variable) -> str:
    """Return the cell of the column `insula up`: "yes" if a user may set the variable, else "no"."""
    return "yes" if variable.name in MAY_BE_SET else INSTEAD.get(variable.name, "no")


def _table(title: str, head: tuple[str, ...], rows: Iterable[str]) -> str:
    return "\n".join([f"## {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *rows, ""])


def _of_commands() -> set[str]:
    """Return the table rows of the variables that users can set in place of an option of a command."""
    group = typer.main.get_command(app)
    options = (option for command in getattr(group, "commands", {}).values() for option in command.params)
    named = ((option, getattr(option, "envvar", None), getattr(option, "help", "")) for option in options)
    rows = {f"| `{name}` | `{option.opts[0]}` | {meaning} |" for option, name, meaning in named if name}
    return rows | {f"| `{insula.settings.ADMIN_TOKEN.name}` | | Token for an admin address HOST:PORT. |"}
