"""Imports the user's file as a module, under the name that the project itself uses.

The module has the name that the project imports it by: `handler` for handler.py, `app.handler` for app/handler.py. So a
class is shown as `handler.Thing`, other modules of the project that import `handler` get the same module, and child
processes can unpickle its objects. A file that cannot be imported by a name gets the name HANDLER_MODULE. An example is
a file with the name of a loaded module. Child processes find HANDLER_MODULE too.
A `.pickle` file holds the class itself, written by dill. The class may have any name.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pickle
import sys
import tokenize

from insula_runner.handler.handler_class import (
    INIT,
    HandlerClass,
    HandlerInvalid,
    Signature,
    check_handler_class,
    find_handler_class,
)

HANDLER_MODULE = "cortex_async_handler"  # the same constant is in startup/sitecustomize.py, which finds the module
SOURCE_SUFFIX = ".py"
PICKLE_SUFFIX = ".pickle"


def import_handler(path: str, shown_path: str, init: Signature = INIT) -> HandlerClass:
    """Import the file at the absolute `path`, and return its checked class. Error texts name it `shown_path`.

    Raises HandlerInvalid, or what code in the module or in the pickle raises.
    """
    if path.endswith(PICKLE_SUFFIX):
        return unpickle_handler(path, shown_path, init)
    module = importlib.import_module(module_name(path, sys.path[0]) or HANDLER_MODULE)
    sys.modules[HANDLER_MODULE] = module  # objects that were pickled under Cortex name this module
    with tokenize.open(path) as file:
        source = file.read()
    return find_handler_class(module, source, shown_path, init)


def module_name(path: str, root: str) -> str:
    """Return the module name of the file at `path` below `root`, the first entry of sys.path; empty if it has none.

    Imports the packages that contain the file.
    """
    stem, suffix = os.path.splitext(os.path.relpath(path, root))
    parts = stem.split(os.sep)
    if suffix != SOURCE_SUFFIX or any(not part or "." in part for part in parts) or parts[0] in sys.modules:
        return ""
    name = ".".join(parts)
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - imports run code of the user's packages
        return ""
    found = spec is not None and spec.origin is not None and os.path.exists(spec.origin)
    return name if found and spec is not None and os.path.samefile(str(spec.origin), path) else ""


def unpickle_handler(path: str, shown_path: str, init: Signature = INIT) -> HandlerClass:
    """Return the checked class in the pickle at `path`. Raises HandlerInvalid, or what code in the pickle raises."""
    # Imported only here: most handlers do not need it, and some environments do not have it.
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
    """Describe the content of a pickle that is not a class. The usual mistake is an instance."""
    kind = type(value).__name__
    return f"an instance of {kind}; pickle the class itself" if hasattr(value, "handle_async") else f"a value of {kind}"
