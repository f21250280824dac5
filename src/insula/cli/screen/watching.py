"""`insula get --watch`: on a terminal a table that is updated in place, on a pipe a line for each change."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NoReturn

from insula.cli.progress import remark
from insula.printing import put
from insula.status import Status

if TYPE_CHECKING:
    from rich.console import Group

    from insula.v1.api_service_pb2 import Api

LOOK_S: Final = 2.0
RATE_LOOKS: Final = 6
"""Number of reads over which a rate is averaged."""
NAME_CHARACTERS_MIN: Final = 8
_FIGURES: Final = {"state": 7, "queued": 6, "running": 7, Status.FAILED.value: 6, "rate": 7}
"""The columns after the name, and their widths in characters. Each column has a space before it."""


class Rates:
    """Computes how many workloads of each API end per second."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, deque[tuple[float, int]]] = defaultdict(lambda: deque(maxlen=RATE_LOOKS))

    def of(self, api: Api, now: float) -> float:
        """Return how many workloads of the API end per second; 0 at the first read. `now` is a time in seconds.

        Workloads that are deleted after the retention make the rate lower, but never negative.
        """
        counts, seen = api.workloads, self._seen[api.name]
        seen.append((now, counts.completed + counts.failed + counts.cancelled))
        (began, first), (ended, last) = seen[0], seen[-1]
        return max(0, last - first) / (ended - began) if ended > began else 0.0


def looks(look: Callable[[], list[Api]]) -> Iterator[list[Api]]:
    """Call `look` every LOOK_S and yield its result. A terminal is cleared before each result."""
    from insula.cli.screen.styled import console

    terminal = console()
    while True:
        found = look()
        if terminal.is_terminal:
            terminal.clear()
        yield found
        time.sleep(LOOK_S)


def show(look: Callable[[], list[Api]]) -> NoReturn:
    """Show the APIs until Ctrl-C, or until `look` raises an error."""
    from rich.live import Live

    from insula.cli.screen.styled import console

    screen, rates = console(soft_wrap=False), Rates()
    if not screen.is_terminal:
        _print_changes(look, rates)
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            live.update(table(look(), rates, screen.width), refresh=True)
            time.sleep(LOOK_S)


def _print_changes(look: Callable[[], list[Api]], rates: Rates) -> NoReturn:
    """Print a line for each API, then a line for an API whenever one of its numbers changes."""
    shown: dict[str, str] = {}
    while True:
        for api in look():
            state, *figures = _cells(api, rates)
            named = (f"{name} {figure}" for name, figure in zip(list(_FIGURES)[1:], figures, strict=True))
            line = f"{api.name} {state}, {', '.join(named)}"
            if shown.get(api.name) != line:
                shown[api.name] = line
                put(f"{time.strftime('%H:%M:%S')} {line}")
        time.sleep(LOOK_S)


def table(apis: Iterable[Api], rates: Rates, columns: int) -> Group:
    """Return a table that is `columns` characters wide, and below it a remark for each API that is not ready."""
    from rich.console import Group
    from rich.table import Table

    from insula.cli.screen.styled import text

    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    width = max(NAME_CHARACTERS_MIN, columns - sum(_FIGURES.values()) - len(_FIGURES))
    shown.add_column("api", max_width=width, no_wrap=True, overflow="ellipsis")
    for name, characters in _FIGURES.items():
        shown.add_column(name, justify="left" if name == "state" else "right", min_width=characters, no_wrap=True)
    remarks: list[str] = []
    for api in apis:
        shown.add_row(*(text([(cell, "")]) for cell in (api.name, *_cells(api, rates))))
        remarks += [said.splitlines()[0]] if (said := remark(api)) else []
    rows = [text([(row, "yellow")]) for row in remarks]
    for row in rows:
        row.truncate(columns, overflow="ellipsis")
    return Group(shown, *rows)


def _cells(api: Api, rates: Rates) -> list[str]:
    counts, rate = api.workloads, rates.of(api, time.monotonic())
    figures = (counts.in_queue, counts.in_progress, counts.failed)
    return [api.state, *map(short, figures), f"{rate:.1f}/s" if rate < 100 else f"{short(round(rate))}/s"]


def short(count: int) -> str:
    """Return a count below 10^12 in at most six characters: 999, 12.3k, 4.5M."""
    scaled, units = float(count), iter(("k", "M", "G"))
    unit = ""
    while scaled >= 999.95 and (larger := next(units, "")):
        scaled, unit = scaled / 1000, larger
    return f"{scaled:.1f}{unit}" if unit else str(count)
