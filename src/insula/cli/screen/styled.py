"""Styled text on standard output. Control characters and markup in the text have no effect."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from insula.printing import visible


def console(*, soft_wrap: bool = True) -> Console:
    """Return rich's console for standard output. Characters that the output's encoding lacks are printed as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def text(pieces: Iterable[tuple[str, str]]) -> Text:
    """Return the pieces of text, each with its style. Markup and control characters in a piece have no effect."""
    return Text.assemble(*((visible(piece), style) for piece, style in pieces))
