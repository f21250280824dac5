"""What rich shows on standard output: text in which nothing but our own styles steers the terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from insula.printing import visible


def console(*, soft_wrap: bool = True) -> Console:
    """Standard output. A character that its encoding lacks is an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def text(pieces: Iterable[tuple[str, str]]) -> Text:
    """Pieces of text, each with its style. No piece is markup, nor steers the terminal."""
    return Text.assemble(*((visible(piece), style) for piece, style in pieces))
