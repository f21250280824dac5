"""The programs that pip puts into an environment, where the environment's path is one that their launchers cannot hold.

A path that is long or has spaces is written into a line for the shell, which gives some characters a meaning.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_MEANT: Final = re.compile(r'["$`\\]')
_LAUNCHER: Final = re.compile(rb"""\A#!/bin/sh\n'''exec' .+? "\$0" "\$@"\n' '''""", re.DOTALL)
_BESIDE: Final = b"""#!/bin/sh\n'''exec' "${0%/*}/python" "$0" "$@"\n' '''"""
"""The interpreter is beside the program. To Python the first two lines are a text."""


def mend_launchers(environment: Path) -> None:
    """Make the programs find their interpreter, if the path of the environment needs it. Reads and writes files."""
    if _MEANT.search(str(environment)) is None:
        return
    for path in (environment / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            written = path.read_bytes()
            text = _LAUNCHER.sub(lambda _: _BESIDE, written, count=1)
            if text != written:
                path.write_bytes(text)
