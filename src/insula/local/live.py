"""The view on a terminal: colours, and a spinner that names what is still starting. Needs rich, imported here only."""

from __future__ import annotations

from typing import IO, Final, cast

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from insula.local.terminal import Terminal
from insula.local.view import ApiState, View


class LiveView(View):
    """As the plain view, with the parts that are under way on the last line."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        # rich only writes, flushes and asks for isatty, encoding and fileno.
        self._console: Final = Console(file=cast("IO[str]", terminal), highlight=False, soft_wrap=True)
        self._status: Final = Status("starting", console=self._console)
        self._under_way: Final[dict[str, str]] = {}
        self._status.start()

    def say(self, text: str) -> None:
        self._console.print(escape(text))

    def starting(self, part: str) -> None:
        self._under_way[part] = part
        self._show()

    def phase(self, api: str, phase: str) -> None:
        self._under_way[api] = f"{api} ({phase})"
        self._show()

    def deployed(self, api: str) -> None:
        self._console.print(f"  [cyan]deployed[/cyan] {escape(api)}, starting")

    def api(self, api: ApiState, seconds: float) -> None:
        self._under_way.pop(api.name, None)
        self._show()
        super().api(api, seconds)

    def ready(self, part: str, seconds: float) -> None:
        self._under_way.pop(part, None)
        self._show()
        self._console.print(f"  [green]ready[/green] {escape(part):<24} [dim]{seconds:.1f} s[/dim]")

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        for line in lines:
            self._console.print(f"  [dim]{escape(part)}: {escape(line)}[/dim]")
        self._console.print(f"  [red]{escape(part)} {escape(how)}[/red]; starting it again in {again_s:g} s")

    def handler_line(self, api: str, line: str) -> None:
        self._console.print(f"[cyan]{escape(api)}[/cyan] {escape(line)}")

    def up(self) -> None:
        self._status.stop()

    def stopping(self) -> None:
        self._status.stop()
        super().stopping()

    def _show(self) -> None:
        self._status.update(
            f"starting {escape(', '.join(self._under_way.values()))}" if self._under_way else "starting"
        )
