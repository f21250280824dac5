"""Repairs the programs that pip installs in an environment whose path has characters that the shell interprets.

If the path of the interpreter is long or has spaces, pip writes it into a line of shell code, in double quotes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_SPECIAL: Final = re.compile(r'["$`\\]')
_LAUNCHER: Final = re.compile(rb"""\A#!/bin/sh\n'''exec' .+? "\$0" "\$@"\n' '''""", re.DOTALL)
_BESIDE: Final = b"""#!/bin/sh\n'''exec' "${0%/*}/python" "$0" "$@"\n' '''"""
"""The first lines of a program. The shell runs the interpreter in the program's folder. Python then reads the second
and third line as a string."""


def mend_launchers(environment: Path) -> None:
    """Rewrite the programs so that they find their interpreter, if the environment's path has special characters."""
    if _SPECIAL.search(str(environment)) is None:
        return
    for path in (environment / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            written = path.read_bytes()
            text = _LAUNCHER.sub(lambda _: _BESIDE, written, count=1)
            if text != written:
                path.write_bytes(text)
