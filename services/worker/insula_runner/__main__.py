"""The handler's process: `python insula_runner/__main__.py DESCRIPTOR`.

Owns what a handler can import: of ours exactly two packages, loaded from beside this file. Neither our site-packages
nor our folders are on the user's path. Run a second time, as `__mp_main__`, by children of multiprocessing's spawn:
they get the same names and nothing else.
"""

from __future__ import annotations

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("insula_runner", "cortex_internal")


def expose(package: str) -> None:
    """Make one package beside ours importable without its folder being on sys.path."""
    folder = os.path.join(os.path.dirname(HERE), package)
    location = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location(package, location, submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"{location} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)


def bootstrap() -> None:
    """Take the folder Python put on sys.path for this script off again, and expose our two packages."""
    sys.path[:] = [entry for entry in sys.path if entry != HERE]
    for package in PACKAGES:
        if package not in sys.modules:
            expose(package)


if __name__ == "__main__":
    bootstrap()
    from insula_runner.session import main

    main(int(sys.argv[1]), os.environ)
elif __name__ == "__mp_main__":
    bootstrap()
    from insula_runner import old_botocore
    from insula_runner.handler_module import HANDLER_VARIABLE, install_finder
    from insula_runner.output import buffer_by_line

    buffer_by_line()
    old_botocore.install(os.environ)

    if HANDLER_VARIABLE in os.environ:
        install_finder(os.environ[HANDLER_VARIABLE])
