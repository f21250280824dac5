"""Makes modules importable in the runner and in each Python process that a handler starts.

All these processes have this folder on their PYTHONPATH, and Python imports a module named `sitecustomize` before a
program begins. The modules are: Insula's PACKAGES, which are not on sys.path; the handler's file, even if sys.path does
not lead to it; and a botocore that uses the stack's S3. Each is loaded at its first import. This module removes its
folder from sys.path, and then runs the environment's own sitecustomize.
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
HANDLER_VARIABLE = "INSULA_HANDLER_FILE"  # the path for child processes, whose sys.argv[0] is another one
CLIENTS = ("botocore.client", "aiobotocore.client")


class Finder:
    """Finds PACKAGES, the handler's file by the name HANDLER_MODULE, and CLIENTS, changed by insula_runner.aws."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        """Return the spec of such a module, and None for any other module, which Python then finds as usual."""
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
    """Run the environment's own sitecustomize, if it has one. Python has run only this one, the first on sys.path."""
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
        stream.reconfigure(line_buffering=True)  # the reader of a pipe gets each line at once, as from a terminal
run_next()
