"""The user's file as a module, under one fixed name.

The name resolves through a finder, not only through sys.modules, so that what the module defines can be pickled to
children started with multiprocessing's spawn: there `__main__.py` runs again and installs the same finder.
A `.pickle` holds the class itself, whatever its name, as dill writes it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pickle
import sys
import tokenize
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

from insula_runner.handler_class import (
    INIT,
    HandlerClass,
    HandlerInvalid,
    Signature,
    check_handler_class,
    find_handler_class,
)

MODULE_NAME = "cortex_async_handler"
PICKLE_SUFFIX = ".pickle"
HANDLER_VARIABLE = "INSULA_HANDLER_FILE"  # how the children learn the path; sys.argv[0] they get replaced


class HandlerFinder:
    """Finds MODULE_NAME at the handler's path, and nothing else."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002 - the import system's signature
        if name != MODULE_NAME:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=SourceFileLoader(name, self._path))


def install_finder(path: str) -> None:
    """Make the handler's file, by its absolute path, importable as MODULE_NAME."""
    sys.meta_path.insert(0, HandlerFinder(path))


def import_handler(path: str, shown_path: str, init: Signature = INIT) -> HandlerClass:
    """Run the file at the absolute `path` and return its checked class; texts name it `shown_path`.

    Raises HandlerInvalid, or whatever the module's own code, or the pickle's, raised.
    """
    if path.endswith(PICKLE_SUFFIX):
        return unpickle_handler(path, shown_path, init)
    install_finder(path)
    module = importlib.import_module(MODULE_NAME)
    with tokenize.open(path) as file:
        source = file.read()
    return find_handler_class(module, source, shown_path, init)


def unpickle_handler(path: str, shown_path: str, init: Signature = INIT) -> HandlerClass:
    """Return the checked class in the pickle at `path`. Raises HandlerInvalid, or what its code raised."""
    # Only here: most handlers never pay for it, and an environment without the base set has none.
    try:
        dill = importlib.import_module("dill")
    except ModuleNotFoundError:
        raise HandlerInvalid(
            f"error in {shown_path}: a {PICKLE_SUFFIX} needs dill, which is not installed; add it to requirements.txt"
        ) from None
    with open(path, "rb") as file:
        try:
            cls = dill.load(file)
        except (pickle.UnpicklingError, EOFError) as error:
            raise HandlerInvalid(f"error in {shown_path}: unable to load pickle: {error}") from None
    if not inspect.isclass(cls):
        raise HandlerInvalid(f"error in {shown_path}: must hold a class pickled with dill, holds {describe(cls)}")
    return check_handler_class(cls, shown_path, init)


def describe(value: object) -> str:
    """Name what a pickle holds instead of a class; an instance is the usual slip."""
    kind = type(value).__name__
    return f"an instance of {kind}; pickle the class itself" if hasattr(value, "handle_async") else f"a value of {kind}"
