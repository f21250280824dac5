"""Guarantees C1 to C4 and C10: some classes are accepted, and the others are refused with a text."""

from __future__ import annotations

import textwrap
import types

import pytest

from insula_runner.handler.handler_class import HandlerClass, HandlerInvalid, find_handler_class


def find(source: str) -> HandlerClass:
    """Run the source as a module and look for its class."""
    source = textwrap.dedent(source)
    module = types.ModuleType("user_module")
    exec(compile(source, "handler.py", "exec"), module.__dict__)
    return find_handler_class(module, source, "handler.py")


def handler(init: str = "self, config", handle_async: str = "self, payload") -> str:
    return f"""
    class Handler:
        def __init__({init}): pass
        def handle_async({handle_async}): pass
    """


@pytest.mark.parametrize(
    ("init", "handle_async", "init_arguments", "handle_arguments"),
    [
        ("self, config", "self", ("config",), ()),
        ("self, config, metrics_client", "self, payload", ("config", "metrics_client"), ("payload",)),
        ("self, metrics_client, config", "self, request_id", ("metrics_client", "config"), ("request_id",)),
        ("self, config", "self, request_id, payload", ("config",), ("request_id", "payload")),
        ("self, config=None", "self, *, payload=None", ("config",), ("payload",)),
        ("self, config, **rest", "self, *args, **kwargs", ("config",), ()),
    ],
)
def test_declared_arguments_are_found(
    init: str, handle_async: str, init_arguments: tuple[str, ...], handle_arguments: tuple[str, ...]
) -> None:
    found = find(handler(init, handle_async))
    assert (found.init_arguments, found.handle_async_arguments) == (init_arguments, handle_arguments)


def test_a_class_without_init_is_accepted() -> None:
    """The samples of Cortex' document for chaining and logging have no `__init__`."""
    assert find("class Handler:\n    def handle_async(self, payload): pass").init_arguments == ()


def test_inherited_and_decorated_methods_are_accepted() -> None:
    found = find(
        """
        import functools
        def timed(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper
        class Parent:
            def __init__(self, config): pass
        class Handler(Parent):
            @timed
            def handle_async(self, payload, request_id): pass
        """
    )
    assert (found.init_arguments, found.handle_async_arguments) == (("config",), ("payload", "request_id"))


def test_of_a_decorator_that_adapts_arguments_its_own_count() -> None:
    """The arguments of the wrapper count, not those of the method that functools.wraps names. Cortex does the same."""
    found = find(
        """
        import functools
        def with_model(function):
            @functools.wraps(function)
            def wrapper(self, config):
                return function(self, config, "model")
            return wrapper
        def with_folder(function):
            @functools.wraps(function)
            def wrapper(self, payload, request_id):
                return function(self, payload, "folder")
            return wrapper
        class Handler:
            @with_model
            def __init__(self, config, model): pass
            @with_folder
            def handle_async(self, data, folder): pass
        """
    )
    assert (found.init_arguments, found.handle_async_arguments) == (("config",), ("payload", "request_id"))


PREFIX = "error in handler.py: class Handler: "


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", "error in handler.py: Handler class is not defined"),
        ("Handler = 1", "error in handler.py: Handler class is not defined"),
        ("def Handler(): pass", "error in handler.py: Handler class is not defined"),
        (
            "class Config: pass\nclass Handle:\n    def handle_async(self, payload): pass",
            "error in handler.py: Handler class is not defined: found class Handle, expected Handler",
        ),
        ("class Model: pass", "error in handler.py: Handler class is not defined: found class Model, expected Handler"),
        (handler() + handler(), "error in handler.py: multiple definitions for Handler class found; "),
        ("class Handler: pass", PREFIX + 'required method "handle_async" is not defined'),
        ("class Handler:\n    handle_async = 1", PREFIX + '"handle_async" is defined, but is not a method'),
        (
            "class Handler:\n    __init__ = 1\n    def handle_async(self): pass",
            PREFIX + '"__init__" is defined, but is not a method',
        ),
        (
            handler(init="self"),
            PREFIX
            + 'invalid signature for method "__init__(self)": "config" is a required argument, but was not provided',
        ),
        (
            handler(init="self, config, model"),
            PREFIX
            + 'invalid signature for method "__init__(self, config, model)": "model" is not a supported argument',
        ),
        (
            handler(init="config, self"),
            PREFIX + 'invalid signature for method "__init__(config, self)": "self" must be the first argument',
        ),
        (
            handler(handle_async=""),
            PREFIX
            + 'invalid signature for method "handle_async()": "self" is a required argument, but was not provided',
        ),
        (
            handler(handle_async="payload, self"),
            PREFIX + 'invalid signature for method "handle_async(payload, self)": "self" must be the first argument',
        ),
        (
            handler(handle_async="self, payload, threshold=0.5"),
            PREFIX + 'invalid signature for method "handle_async(self, payload, threshold)": '
            '"threshold" is not a supported argument',
        ),
    ],
)
def test_what_is_not_a_handler_is_refused_with_its_text(source: str, text: str) -> None:
    with pytest.raises(HandlerInvalid) as refused:
        find(source)
    assert str(refused.value).startswith(text)
