"""Set-up of every program of Insula: it uses UTF-8 in every locale, and converts integers of any length."""

from __future__ import annotations

import io
import os
import sys
from typing import Final

_ERRORS: Final = {"stdin": "surrogateescape", "stdout": "surrogateescape", "stderr": "backslashreplace"}
"""The error handler of each standard stream, as in Python's UTF-8 mode."""


def begin() -> None:
    """Set up this process. If file names are not UTF-8, restart the program in Python's UTF-8 mode."""
    sys.set_int_max_str_digits(0)
    if sys.getfilesystemencoding() != "utf-8":
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for name, errors in _ERRORS.items():
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8", errors=errors)
