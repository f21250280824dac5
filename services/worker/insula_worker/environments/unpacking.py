"""Unpacks a project from its bundle, and adapts the files that its installation reads.

Bash and conda read Unix text only, so files written on Windows are converted in our copy. A dependencies.sh may call a
script of Cortex' image. The call is changed to our own script, because only root could install one at Cortex' path.
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
    """Remove the parent folder of `project`, and unpack the archive into `project`. Blocks.

    Called at every installation, because a handler may have changed its files.
    """
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
