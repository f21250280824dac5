"""A project as its files come out of the bundle, with what its scripts take for granted.

Bash and conda read Unix text only, so what Windows wrote is rewritten, in our copy. A dependencies.sh may call a script
of Cortex' image: a file of ours takes its place, since an ordinary user cannot put one where Cortex had it.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from insula.project.configuration.spec import Dependencies
from insula.project.extraction import extract
from insula.project.text import as_unix
from insula_worker.view import remove

CORTEX_SCRIPT: Final = b"/usr/local/cortex/install-core-dependencies.sh"
OUR_SCRIPT: Final = Path(__file__).with_name("install-core-dependencies.sh")


def unpack(archive: bytes, project: Path, dependencies: Dependencies) -> None:
    """Make a fresh copy, at every start: a handler may have changed the files it runs among. Blocks."""
    remove(project.parent)
    extract(archive, project)
    for name in (dependencies.shell, dependencies.conda):
        path = project / name
        if path.is_file():
            _rewrite(path)


def _rewrite(path: Path) -> None:
    written = path.read_bytes()
    text = as_unix(written).replace(CORTEX_SCRIPT, shlex.quote(str(OUR_SCRIPT)).encode())
    if text != written:
        path.write_bytes(text)
