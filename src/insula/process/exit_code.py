"""Describes an exit code of Python's subprocess module in words."""

from __future__ import annotations

import signal


def describe_end(code: int) -> str:
    """Return how a process ended, as a phrase to follow its name. `code` is negative for a signal."""
    if code >= 0:
        return f"ended with code {code}"
    hint = ", which the kernel sends when memory runs out" if code == -signal.SIGKILL else ""
    try:
        name = f" ({signal.Signals(-code).name}{hint})"
    except ValueError:
        name = ""
    return f"was killed by signal {-code}{name}"
