"""The handler's file is checked without importing it."""

from __future__ import annotations

import re
import textwrap
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.errors import ProjectInvalid
from insula.project.handler_source import check
from insula_runner.handler.handler_class import HandlerInvalid, find_handler_class


def judged(source: str, handler_type: str = "python") -> str:
    """Return the error text of the source; empty if it is accepted."""
    try:
        check(textwrap.dedent(source).encode(), "handler.py", handler_type)
    except ProjectInvalid as error:
        return str(error)
    return ""


ACCEPTED = {
    "the document's interface": """
        class Handler:
            def __init__(self, config, metrics_client):
                pass
            def handle_async(self, payload, request_id):
                pass
        """,
    "no __init__, as in the chaining sample": """
        import requests
        class Handler:
            def handle_async(self, payload):
                return {}
        """,
    "no argument at all": "class Handler:\n    def handle_async(self): return {}",
    "a coroutine": "class Handler:\n    async def handle_async(self, payload): return {}",
    "arguments by keyword only": "class Handler:\n    def handle_async(self, *, request_id, payload): return {}",
    "rest arguments": "class Handler:\n    def handle_async(self, *args, **kwargs): return {}",
    "inherited methods": "from base import Base\nclass Handler(Base): pass",
    "imported": "from elsewhere import Handler",
    "imported under the name": "from elsewhere import Thing as Handler",
    "a star import": "from elsewhere import *",
    "assigned": "class Thing:\n    def handle_async(self): pass\nHandler = Thing",
    "decorated class": "@register\nclass Handler: pass",
    "a metaclass": "class Handler(metaclass=Meta): pass",
    "decorated method": "class Handler:\n    @wrapped\n    def handle_async(self, anything): pass",
    "a method from elsewhere": "class Handler:\n    handle_async = other.method",
    "a method imported into the class": "class Handler:\n    from elsewhere import handle_async",
    "a method added later": "class Handler: pass\nHandler.handle_async = lambda self: {}",
    "a method added by setattr": "class Handler: pass\nsetattr(Handler, 'handle_async', print)",
    "one of two branches": """
        try:
            import fast
        except ImportError:
            class Handler:
                def handle_async(self): return {}
        else:
            class Handler:
                def handle_async(self): return {}
        """,
    "methods in branches": """
        import sys
        class Handler:
            if sys.version_info > (3,):
                def handle_async(self, whatever): return {}
            else:
                def handle_async(self): return {}
        """,
    "defined by exec": "exec('class Handler: pass')",
    "defined in a function": "def make():\n    global Handler\n    class Handler: pass\nmake()",
    "used in its own file": """
        class Handler:
            def handle_async(self): return {}
        if __name__ == "__main__":
            print(Handler().handle_async())
        """,
    "another encoding": "# coding: latin-1\nclass Handler:\n    def handle_async(self): return {}",
    "an odd escape": "class Handler:\n    pattern = '\\d'\n    def handle_async(self): return {}",
}
REFUSED = {
    "": "error in handler.py: Handler class is not defined",
    "class Handle:\n    def handle_async(self, payload): pass": (
        "error in handler.py: Handler class is not defined: found class Handle, expected Handler"
    ),
    "class Handler: pass\nclass Handler: pass": "error in handler.py: multiple definitions for Handler class found; ",
    "class Handler:\n    def __init__(self, config): pass": (
        'error in handler.py: class Handler: required method "handle_async" is not defined'
    ),
    "class Handler(object): pass": 'class Handler: required method "handle_async" is not defined',
    "class Handler:\n    handle_async = 1": '"handle_async" is defined, but is not a method',
    "class Handler:\n    def handle_async(): pass": (
        'invalid signature for method "handle_async()": "self" is a required argument, but was not provided'
    ),
    "class Handler:\n    def handle_async(payload, self): pass": (
        'invalid signature for method "handle_async(payload, self)": "self" must be the first argument'
    ),
    "class Handler:\n    def handle_async(self, payload, headers): pass": (
        'invalid signature for method "handle_async(self, payload, headers)": "headers" is not a supported argument'
    ),
    "class Handler:\n    def handle_async(self, payload, /): pass": '"payload" cannot be positional-only',
    "class Handler:\n    def __init__(self): pass\n    def handle_async(self): pass": (
        'invalid signature for method "__init__(self)": "config" is a required argument, but was not provided'
    ),
    "class Handler(Base):\n    def handle_async(self, nope): pass": '"nope" is not a supported argument',
    "class Handler:\n  def __init__(self, config, tensorflow_client): pass\n  def handle_async(self): pass": (
        '"tensorflow_client" is not a supported argument'
    ),
    "class Handler:\n    def handle_async(self)\n        pass": "error in handler.py:2: expected ':'",
    "def f(:\n": "error in handler.py:1: invalid syntax",
    "x = 1\n  y = 2": "error in handler.py:2: unexpected indent",
    "(" * 300: "error in handler.py:1: too many nested parentheses",
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_source_that_may_work_is_accepted(case: str) -> None:
    assert judged(ACCEPTED[case]) == ""


@pytest.mark.parametrize("source", REFUSED)
def test_what_cannot_work_is_refused_in_cortex_words(source: str) -> None:
    assert REFUSED[source] in judged(source)


@pytest.mark.parametrize(
    "source", [source for source in REFUSED if "class Handle" in source and ")\n        pass" not in source]
)
def test_the_runner_refuses_it_with_the_same_text(source: str) -> None:
    """The runner cannot import the check of the source. It has a copy of the rules, and checks the imported class."""
    module = types.ModuleType("handler")
    module.__dict__["Base"] = object
    exec(source, module.__dict__)
    with pytest.raises(HandlerInvalid) as caught:
        find_handler_class(module, source, "handler.py")
    assert str(caught.value) == re.sub(r" \(lines? [^()]+\)$", "", judged(source))


def test_a_tensorflow_handler_needs_its_client() -> None:
    methods = "class Handler:\n    def __init__(self, config{}): pass\n    def handle_async(self): return {{}}"
    assert '"tensorflow_client" is a required argument' in judged(methods.format(""), "tensorflow")
    assert judged(methods.format(", tensorflow_client, metrics_client"), "tensorflow") == ""


def test_deeply_nested_sources_do_not_crash_the_check() -> None:
    judged("x = " + "+".join(["1"] * 5000))
    judged("x = " + "-" * 20_000 + "1")
    assert "error in handler.py" in judged("x = " + "[" * 20_000)


@given(st.binary(max_size=200) | st.text("()[]{}:\n \tclassHandlerdef=,.\"'\\#@*", max_size=80).map(str.encode))
def test_garbage_never_crashes_the_check(source: bytes) -> None:
    with pytest.raises(ProjectInvalid):
        check(source, "handler.py", "python")
