"""What each Python that is started with this folder on its PYTHONPATH runs first: the runner, and its children.

Python imports a module of this name before a program begins. So children of every kind, whichever library or script
starts them, find what the handler finds: of ours exactly two packages, from outside sys.path; the handler's file, where
no name on the path leads to it; and a botocore that knows the S3 we give. Everything is loaded when it is first
imported. The folder leaves sys.path at once, and a sitecustomize of the environment's own is run after this one.
"""

from __future__ import annotations

import io
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.dirname(os.path.dirname(HERE))
PACKAGES = ("insula_runner", "cortex_internal")
HANDLER_MODULE = "cortex_async_handler"  # the name that Cortex gave each handler's file
HANDLER_VARIABLE = "INSULA_HANDLER_FILE"  # how children learn the path; sys.argv[0] they get replaced
CLIENTS = ("botocore.client", "aiobotocore.client")


class Finder:
    """Finds our packages, the handler's file as HANDLER_MODULE, and CLIENTS changed; nothing else."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        """Return the spec of the module, or None if somebody else has to find it."""
        if name in PACKAGES:
            return PathFinder.find_spec(name, [OURS])
        if name == HANDLER_MODULE and HANDLER_VARIABLE in os.environ:
            file = os.environ[HANDLER_VARIABLE]
            spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file)
            spec.has_location = True
            return spec
        if name in CLIENTS:
            from insula_runner.aws import find_changed

            return find_changed(name, path, target, os.environ)
        return None


def run_next() -> None:
    """Run the sitecustomize that Python would have found without us."""
    spec = PathFinder.find_spec("sitecustomize")
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


sys.path[:] = [entry for entry in sys.path if entry != HERE]
sys.meta_path.insert(0, Finder)
for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(line_buffering=True)  # whoever started it reads each line at once, as from a terminal
run_next()
