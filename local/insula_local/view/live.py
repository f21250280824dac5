"""The view on a terminal: colours, and a spinner with the parts that are starting. Only this module imports rich."""

from __future__ import annotations

from typing import IO, Final, cast

from rich.console import Console
from rich.status import Status
from rich.text import Text

from insula.printing import visible
from insula.telemetry.log_lines import CHARACTERS_MAX, LogForm, Row
from insula_local.api import LocalApi
from insula_local.view.plain import View
from insula_local.view.terminal import Terminal

SPINNER_COLUMNS: Final = 2


class LiveView(View):
    """The plain view in colours. The last lines show the parts that are starting, and their progress."""

    def __init__(self, terminal: Terminal, form: LogForm = LogForm.PLAIN, *, verbose: bool = False) -> None:
        """Start the spinner. The arguments are those of View."""
        super().__init__(terminal, form, verbose=verbose)
        # rich uses only write, flush, isatty, encoding and fileno of the file.
        self._console: Final = Console(file=cast("IO[str]", terminal), highlight=False, soft_wrap=True)
        self._status: Final = Status("starting", console=self._console)
        self._under_way: Final[dict[str, str]] = {}
        self._progress: Final[dict[str, str]] = {}
        self._spins = True
        self._status.start()

    def say(self, text: str) -> None:
        self._print(text)

    def starting(self, part: str) -> None:
        self._under_way[part] = part
        self._show()

    def phase(self, api: LocalApi, now: float) -> None:
        if not self._spins:
            super().phase(api, now)
            return
        self._under_way[api.name] = f"{api.name} ({api.phase})"
        self._progress[api.name] = api.progress
        self._show()

    def deployed(self, api: str) -> None:
        self._print("  ", ("deployed", "cyan"), f" {api}, starting")

    def api(self, api: LocalApi, seconds: float) -> None:
        self._under_way.pop(api.name, None)
        self._progress.pop(api.name, None)
        self._show()
        super().api(api, seconds)

    def ready(self, part: str, seconds: float) -> None:
        self._under_way.pop(part, None)
        self._show()
        self._print("  ", ("ready", "green"), f" {part:<24} ", (f"{seconds:.1f} s", "dim"))

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        for line in lines:
            self._print("  ", (f"{part}: {line[:CHARACTERS_MAX]}", "dim"))
        self._print("  ", (f"{part} {how}", "red"), f"; starting it again in {again_s:g} s")

    def raw(self, line: str) -> None:
        self._print(line)

    def rows(self, found: list[Row]) -> None:
        self._console.print(Text("\n").join(_text(*row) for row in found))

    def up(self) -> None:
        self._spins = False
        self._status.stop()

    def stopping(self) -> None:
        self.up()
        super().stopping()

    def _show(self) -> None:
        lines = [_text(f"starting {', '.join(self._under_way.values())}" if self._under_way else "starting")]
        lines += [_text(f"  {api}: {progress}") for api, progress in self._progress.items() if progress]
        for line in lines:
            line.truncate(self.terminal.columns() - SPINNER_COLUMNS, overflow="ellipsis")
        self._status.update(Text("\n").join(lines))

    def _print(self, *pieces: str | tuple[str, str]) -> None:
        self._console.print(_text(*pieces))


def _text(*pieces: str | tuple[str, str]) -> Text:
    """Join pieces: texts, or pairs of a text and its style. Markup and control characters in them have no effect."""
    styled = ((piece, "") if isinstance(piece, str) else piece for piece in pieces)
    return Text.assemble(*((visible(text), style) for text, style in styled))
