"""Printing for people and for programs, so that no text from elsewhere steers a terminal.

Handlers, clients, projects and services choose much of what the commands print. A person sees each character that
would move the cursor, change colours, hide or reorder text as its escape. Whether a person reads is decided for each
stream: stderr is for people, stdout is if it is a terminal. Another stdout gets the exact bytes.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Final, TextIO

_UNUSUAL: Final = re.compile(r"[^\n\t -~]")


def visible(text: str | bytes) -> str:
    r"""Return `text` for a person: control and invisible formatting characters are escapes, as in \x1b or \u202e.

    Newlines, tabs and every kind of space stay. Of bytes, those that are not UTF-8 are escapes too.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    harmless = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if harmless else ascii(character)[1:-1]


def put(text: str | bytes) -> None:
    """Print a line on stdout: exact bytes, or `visible` text if stdout is a terminal."""
    if sys.stdout.isatty():
        _write(sys.stdout, visible(text), "\n")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write((text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")) + b"\n")
    sys.stdout.buffer.flush()


def note(text: str, end: str = "\n") -> None:
    """Print `visible` text on stderr, whoever reads it: a log of it is looked at on a terminal later."""
    _write(sys.stderr, visible(text), end)


def _write(stream: TextIO, text: str, end: str) -> None:
    stream.flush()
    stream.buffer.write((text + end).encode(stream.encoding, "backslashreplace"))
    stream.buffer.flush()
