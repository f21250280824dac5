"""Run by `insula build` in the container: `python -m insula_worker.baking PROJECT INTO`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from insula.errors import InsulaError
from insula.printing import put
from insula.process import startup
from insula_worker.baking import bake
from insula_worker.settings import handler_environment

if __name__ == "__main__":
    startup.begin()
    project, into = map(Path, sys.argv[1:])
    try:
        asyncio.run(bake(project, into, handler_environment(os.environ), put))
    except InsulaError as error:
        sys.exit(str(error))
