"""Prints text for people and for programs, so that the text cannot control the terminal.

Much of what the commands print comes from handlers, clients, projects and services. On a terminal, characters that
would move the cursor, change colours, hide or reorder text are printed as escapes. This applies to stderr always, and
to stdout if it is a terminal. Any other stdout gets the exact bytes.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Final, TextIO

_UNUSUAL: Final = re.compile(r"[^\n\t -~]")


def visible(text: str | bytes) -> str:
    r"""Return `text` for a terminal: control and invisible formatting characters become escapes such as \x1b or \u202e.

    Newlines, tabs and all kinds of space stay. Bytes that are not UTF-8 become escapes too.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    harmless = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if harmless else ascii(character)[1:-1]


def put(text: str | bytes) -> None:
    """Print a line on stdout. On a terminal, control characters are escaped; otherwise the bytes are unchanged."""
    if sys.stdout.isatty():
        _write(sys.stdout, visible(text), "\n")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write((text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")) + b"\n")
    sys.stdout.buffer.flush()


def note(text: str, end: str = "\n") -> None:
    """Print text on stderr, always with the escapes of `visible`: if stderr is a file, a terminal may show it later."""
    _write(sys.stderr, visible(text), end)


def _write(stream: TextIO, text: str, end: str) -> None:
    stream.flush()
    stream.buffer.write((text + end).encode(stream.encoding, "backslashreplace"))
    stream.buffer.flush()
