"""docs/cli.md, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from typer.core import TyperGroup
from typer.main import get_command

from insula.cli.main import EXAMPLES, app

INTRODUCTION: Final = """\
# The `insula` command

<!-- Written by `make reference` from the commands (src/insula/cli); do not edit. -->

`insula --help` lists the commands, `insula COMMAND --help` the options of one. `insula --version` prints the version.
The [glossary](glossary.md) explains the words of this page.

Results go to standard output, all other text to standard error. A command uses the stack whose data directory is
`.insula` in the current directory. `--data DIR` names another data directory. Two options name an address instead:
`--url`, at which `submit` and `result` submit and read workloads, and `--admin`, at which the other commands deploy and
describe APIs. `submit` and `result` use `--admin` only to print the traceback of a failed workload.

`insula --install-completion` sets up completion of commands, options and the names of deployed APIs for the current
shell. `insula --show-completion` prints the completion script without installing it.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the call failed, nothing answers at the address, an API is failing, or a workload failed |
| 2 | wrong usage, a refused project, or no running stack in the data directory |
| 3 | `insula result`: the workload has not ended yet |
| 130 | `insula submit` and `insula result`: interrupted by Ctrl-C |

`insula up` exits 0 if it was stopped after it was up, 1 if a part did not come up, and 128 plus the signal's number if
it was stopped before that. [Running a stack](running-a-stack.md) explains it.

`insula submit` sends no `Idempotency-Key`. Use HTTP or the [Python client](python-client.md) for that.
"""


def page() -> str:
    """Return the text of docs/cli.md."""
    root = get_command(app)
    assert isinstance(root, TyperGroup), "several commands make a group"
    sections = ["\n".join(_section(name, command)) for name, command in root.commands.items()]
    return "\n".join([INTRODUCTION, *sections])


def _section(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    words = " ".join(["insula", name, *(_placeholder(each) for each in arguments), "[OPTIONS]"])
    yield f"## insula {name}"
    yield f"\n{command.help}\n\n```\n{words}\n```\n"
    if arguments:
        yield from _table("argument", ((f"`{_placeholder(each)}`", each.help or "") for each in arguments))
    yield from _table("option", ((_spelling(each), _meaning(each)) for each in options))
    yield "Examples:\n\n```bash"
    yield from EXAMPLES[name]
    yield "```\n"


def _table(kind: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"| {kind} | meaning |\n|---|---|"
    for name, meaning in rows:
        yield f"| {_cell(name)} | {_cell(meaning)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _placeholder(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _spelling(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{option.metavar or _kind(option)}`"


def _kind(option: Any) -> str:
    kind = option.type
    return "|".join(kind.choices) if kind.name == "choice" else {"int range": "NUMBER"}.get(kind.name, "TEXT")


def _meaning(option: Any) -> str:
    default = option.default
    shown = option.show_default and not option.is_flag and default not in (None, ())
    words = [option.help, f"Default: `{default}`." if shown else "", _variable(option)]
    return " ".join(filter(None, words))


def _variable(option: Any) -> str:
    return f"Environment variable: `{option.envvar}`." if option.envvar else ""
