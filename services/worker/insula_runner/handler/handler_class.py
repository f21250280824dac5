"""Finds the user's class in its module, and checks the signatures of its two methods.

Makes the error texts for a class that is not as documented. When a method is called later, it gets only the arguments
that it declares, by name.
"""

from __future__ import annotations

import ast
import inspect
import types
from typing import Any, List, NamedTuple, Tuple

CLASS_NAME = "Handler"
NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class HandlerInvalid(Exception):
    """The handler's class is missing or a method's signature is not supported; the text names the path."""


class Signature(NamedTuple):
    """The arguments that a method must declare, and those that it may declare."""

    method: str
    required: Tuple[str, ...]
    optional: Tuple[str, ...]


INIT = Signature("__init__", required=("self", "config"), optional=("metrics_client",))
INIT_WITH_MODELS = Signature("__init__", required=("self", "tensorflow_client", "config"), optional=("metrics_client",))
HANDLE_ASYNC = Signature("handle_async", required=("self",), optional=("payload", "request_id"))


class HandlerClass(NamedTuple):
    """A checked class, and the arguments that its methods declare, without self."""

    cls: type
    init_arguments: Tuple[str, ...]
    handle_async_arguments: Tuple[str, ...]


def find_handler_class(module: types.ModuleType, source: str, path: str, init: Signature = INIT) -> HandlerClass:
    """Return the module's Handler class. `source` is the module's text. Raises HandlerInvalid.

    `path` is the path of the file as the user wrote it, for error texts.
    """
    if count_definitions(source) > 1:
        raise HandlerInvalid(
            f"error in {path}: multiple definitions for Handler class found; "
            "make sure that there is only one class named Handler"
        )
    cls = getattr(module, CLASS_NAME, None)
    if not inspect.isclass(cls):
        raise HandlerInvalid(f"error in {path}: Handler class is not defined{near_misses(module)}")
    return check_handler_class(cls, path, init)


def check_handler_class(cls: type, path: str, init: Signature = INIT) -> HandlerClass:
    """Check a class, and return it with the arguments of its methods. Raises HandlerInvalid."""
    return HandlerClass(cls, check_init(cls, path, init), check_method(cls, HANDLE_ASYNC, path))


def count_definitions(source: str) -> int:
    """Return how often the module's top level defines `Handler`. The module object has only the last definition."""
    statements = ast.parse(source).body
    return sum(isinstance(statement, ast.ClassDef) and statement.name == CLASS_NAME for statement in statements)


def near_misses(module: types.ModuleType) -> str:
    """Return a text that names the class that the user probably meant, or an empty string."""
    own = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    meant = [cls for cls in own if hasattr(cls, "handle_async")] or own
    if len(meant) != 1:
        return ""
    return f": found class {meant[0].__name__}, expected {CLASS_NAME}"


def check_init(cls: type, path: str, init: Signature = INIT) -> Tuple[str, ...]:
    """Return the arguments of __init__, without self; none if the class does not define it. Raises HandlerInvalid."""
    if isinstance(inspect.getattr_static(cls, "__init__"), types.WrapperDescriptorType):
        return ()
    return check_method(cls, init, path)


def check_method(cls: type, signature: Signature, path: str) -> Tuple[str, ...]:
    """Return the arguments of a method, without self. Raises HandlerInvalid."""
    where = f"error in {path}: class {CLASS_NAME}: "
    method = getattr(cls, signature.method, None)
    if method is None:
        raise HandlerInvalid(f'{where}required method "{signature.method}" is not defined')
    if not callable(method):
        raise HandlerInvalid(f'{where}"{signature.method}" is defined, but is not a method')
    parameters = declared_parameters(method)
    declared = [parameter.name for parameter in parameters]
    fault = find_fault(signature, parameters)
    if fault:
        call = f"{signature.method}({', '.join(declared)})"
        raise HandlerInvalid(f'{where}invalid signature for method "{call}": {fault}')
    return tuple(name for name in declared if name != "self")


def declared_parameters(method: Any) -> List[inspect.Parameter]:
    """Return the named parameters of a method, with self.

    If the method is a decorator's wrapper that accepts any keyword, return the parameters of the function inside it.
    """
    outer = inspect.signature(method, follow_wrapped=False).parameters.values()
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in outer)
    parameters = inspect.signature(method).parameters.values() if takes_any else outer
    return [parameter for parameter in parameters if parameter.kind in NAMED]


def find_fault(signature: Signature, parameters: List[inspect.Parameter]) -> str:
    """Return what is wrong with the declared arguments, or an empty string."""
    declared = [parameter.name for parameter in parameters]
    for name in signature.required:
        if name not in declared:
            return f'"{name}" is a required argument, but was not provided'
    if declared[0] != "self":
        return '"self" must be the first argument'
    for name in declared:
        if name not in signature.required + signature.optional:
            return f'"{name}" is not a supported argument'
    for parameter in parameters[1:]:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return f'"{parameter.name}" cannot be positional-only, since arguments are passed by name'
    return ""
