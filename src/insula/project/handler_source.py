"""Checks the file of a Handler without importing it, so that mistakes are found before anything is installed.

Refuses only mistakes that the source proves. If the Handler class is imported, assigned or decorated, or has base
classes, the runner (the handler process) checks it after the import. Both use the same error texts.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from insula.errors import ProjectInvalid
from insula.project.configuration import other_versions
from insula.project.text import encoding_of

CLASS_NAME: Final = "Handler"
PICKLE_SUFFIX: Final = ".pickle"
"""Suffix of a pickled Handler. Only the runner can check such a file, because reading a pickle runs its code."""
# Code that uses one of these can define names that are not in the source.
_DYNAMIC: Final = frozenset({"__import__", "delattr", "eval", "exec", "globals", "locals", "setattr", "vars"})
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Method:
    """The arguments that a method of Handler must have, and those that it may have. They are passed by name."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    # Samples in Cortex' documentation have handlers without an __init__.
    may_be_missing: bool = False


_HANDLE_ASYNC: Final = Method(("self",), ("payload", "request_id"))
METHODS_BY_TYPE: Final = MappingProxyType(
    {
        "python": MappingProxyType(
            {
                "__init__": Method(("self", "config"), ("metrics_client",), may_be_missing=True),
                "handle_async": _HANDLE_ASYNC,
            }
        ),
        "tensorflow": MappingProxyType(
            {
                "__init__": Method(("self", "tensorflow_client", "config"), ("metrics_client",), may_be_missing=True),
                "handle_async": _HANDLE_ASYNC,
            }
        ),
    }
)


def check(source: bytes, path: str, handler_type: str) -> None:
    """Raise ProjectInvalid if `source` cannot define a valid Handler of this type. `path` is its name in errors."""
    if path.endswith(PICKLE_SUFFIX):
        return
    module = _parse(source, path)
    dynamic = any(isinstance(node, ast.Name) and node.id in _DYNAMIC for node in ast.walk(module))
    bindings = list(_bindings(module.body, CLASS_NAME))
    if not bindings and not dynamic and not _may_come_from_elsewhere(module):
        raise ProjectInvalid(f"error in {path}: Handler class is not defined{_other_class(module)}")
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == CLASS_NAME]
    if len(classes) > 1 and len(classes) == len(bindings):
        lines = " and ".join(str(node.lineno) for node in classes)
        advice = f"make sure that there is only one class named Handler (lines {lines})"
        raise ProjectInvalid(f"error in {path}: multiple definitions for Handler class found; {advice}")
    if len(classes) != 1 or len(bindings) != 1 or classes[0].decorator_list or classes[0].keywords:
        return
    closed = not dynamic and _is_closed(classes[0], module)
    for name, method in METHODS_BY_TYPE[handler_type].items():
        if problem := _method_problem(classes[0], name, method, closed=closed):
            raise ProjectInvalid(f"error in {path}: class Handler: {problem} (line {classes[0].lineno})")


def _parse(source: bytes, path: str) -> ast.Module:
    if (encoding := encoding_of(source)).startswith(("utf-16", "utf-32")):
        raise ProjectInvalid(f"error in {path}: is {encoding.upper()} text, which Python cannot read; save it as UTF-8")
    if b"\0" in source:
        raise ProjectInvalid(f"error in {path}: holds null bytes, so it is not Python source; save it as UTF-8 text")
    try:
        with warnings.catch_warnings():
            # Python shows a warning such as that about "\d" when the module is imported.
            warnings.simplefilter("ignore")
            return ast.parse(source, path)
    except SyntaxError as error:
        raise ProjectInvalid(f"error in {path}:{error.lineno or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProjectInvalid(f"error in {path}: cannot be parsed: {str(error) or 'it is nested too deeply'}") from None


def _bindings(body: Sequence[ast.stmt], name: str) -> Iterator[ast.AST]:
    """Yield every node that binds `name` in the scope of `body`, also in the branches of `if`, `try` and the like."""
    for statement in body:
        for node in _same_scope(statement):
            match node:
                case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                    yield node
                case ast.alias() if (node.asname or node.name.split(".")[0]) == name:
                    yield node
                case ast.Name(id=bound, ctx=ast.Store() | ast.Del()) if bound == name:
                    yield node
                case ast.MatchAs() | ast.MatchStar() | ast.ExceptHandler() if node.name == name:
                    yield node
                case _:
                    pass


def _same_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield `node` and its descendants, without the bodies of functions and classes."""
    # Not recursive, because the parser accepts trees that are deeper than Python's recursion limit.
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.ClassDef | _FunctionNode | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def _may_come_from_elsewhere(module: ast.Module) -> bool:
    """Whether Handler could be defined without a binding in the module, such as by `from x import *`."""
    for node in ast.walk(module):
        match node:
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                return True
            case ast.Global(names=names) if CLASS_NAME in names:
                return True
            case ast.FunctionDef(name="__getattr__"):
                return True
            case _:
                pass
    return False


def _other_class(module: ast.Module) -> str:
    """Return the end of the error text for a missing Handler: it names a class that may be meant. Empty without one."""
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name in other_versions.CLASSES:
            return f": found class {node.name}; {other_versions.CLASS_ADVICE}"
        if isinstance(node, ast.ClassDef) and any(_bindings(node.body, "handle_async")):
            return f": found class {node.name}, expected Handler"
    return ""


def _is_closed(handler: ast.ClassDef, module: ast.Module) -> bool:
    """Whether the class body defines all members: the class has no base class, and no other code can change it."""
    if any(not (isinstance(base, ast.Name) and base.id == "object") for base in handler.bases):
        return False
    called = {id(node.func) for node in ast.walk(module) if isinstance(node, ast.Call)}
    return not any(
        isinstance(node, ast.Name) and node.id == CLASS_NAME and id(node) not in called for node in ast.walk(module)
    )


def _method_problem(handler: ast.ClassDef, name: str, method: Method, *, closed: bool) -> str | None:
    """Return the problem of one method, or None. `closed` is the result of _is_closed."""
    bindings = list(_bindings(handler.body, name))
    if not bindings and any(isinstance(node, ast.ImportFrom | ast.Global) for node in ast.walk(handler)):
        return None
    if not bindings:
        missing = f'required method "{name}" is not defined{_other_method(handler)}'
        return missing if closed and not method.may_be_missing else None
    if len(bindings) > 1:
        return None
    match bindings[0]:
        case ast.FunctionDef() | ast.AsyncFunctionDef() as function if function in handler.body:
            return None if function.decorator_list else _signature_problem(function, method)
        case ast.Name() if _is_constant(handler, name):
            return f'"{name}" is defined, but is not a method'
        case _:
            return None


def _other_method(handler: ast.ClassDef) -> str:
    """Return the end of the error text for a missing method: it names a method that may be meant. Empty without one."""
    found = next((name for name in other_versions.METHODS if any(_bindings(handler.body, name))), None)
    return f": found {found}; {other_versions.METHODS[found]}" if found else ""


def _is_constant(handler: ast.ClassDef, name: str) -> bool:
    return any(
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.Set | ast.JoinedStr)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        for node in handler.body
    )


def _signature_problem(function: _FunctionNode, method: Method) -> str | None:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    unsupported = [name for name in names if name not in method.required + method.optional]
    problem = None
    if missing := [name for name in method.required if name not in names]:
        problem = f'"{missing[0]}" is a required argument, but was not provided'
    elif names[0] != "self":
        problem = '"self" must be the first argument'
    elif unsupported:
        problem = f'"{unsupported[0]}" is not a supported argument'
    elif positional_only := [argument.arg for argument in function.args.posonlyargs[1:]]:
        problem = f'"{positional_only[0]}" cannot be positional-only, since arguments are passed by name'
    return problem and f'invalid signature for method "{function.name}({", ".join(names)})": {problem}'
