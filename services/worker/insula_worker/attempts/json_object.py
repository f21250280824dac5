r"""Checks whether bytes are one JSON object, by the grammar of RFC 8259, without building the object.

A parser builds the object in memory, at several times its size. msgspec 0.22 can skip values, but it refuses a lone
surrogate (`\ud800`), which a handler may return, and accepts bytes that are not UTF-8. Here, one match of a regular
expression takes a run of shallow values, and a loop handles deeper containers.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from typing import Final, NoReturn

DEPTH_MAX: Final = 10_000
"""Maximum number of levels of nested arrays and objects, which are called containers here."""
_RUN_MAX: Final = 4096
"""Maximum number of values in one match. A match holds the interpreter's lock, so a long one blocks the event loop."""
_DEPTH_AT_ONCE: Final = 2
"""Levels of nested containers in one match. The pattern for a third level would take 0.15 s to compile."""
_DECODED_BYTES: Final = 1 << 20
_PARSED_BYTES: Final = 4096
_PARSED_CONTAINERS: Final = 500
"""An object of at most _PARSED_BYTES bytes, with at most this many containers, is parsed and not matched. This takes a
third of the time, and little memory."""

_WS: Final = r"[ \t\n\r]*+"
_STRING: Final = r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+"'
_NUMBER: Final = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_SCALAR: Final = f"(?:{_STRING}|{_NUMBER}|true|false|null)"
_KEY: Final = f"{_STRING}{_WS}:{_WS}"


def _value(depth: int) -> str:
    """Return the pattern of a value with containers nested up to `depth`."""
    if depth == 0:
        return _SCALAR
    inner = _value(depth - 1)
    return f"(?>{_SCALAR}|{_container('{', _KEY + inner, '}')}|{_container('[', inner, ']')})"


def _container(opening: str, item: str, closing: str) -> str:
    return rf"\{opening}{_WS}(?:{item}{_WS}(?:,{_WS}{item}{_WS}){{0,{_RUN_MAX}}}+)?+\{closing}"


_VALUE: Final = _value(_DEPTH_AT_ONCE)


def _items(key: str) -> re.Pattern[bytes]:
    """Return the pattern of a container's items and commas, up to the start of a deeper container or the last item.

    `key` is the pattern of an item's key and colon, empty for an array.
    """
    item = f"{key}{_VALUE}{_WS}"
    text = rf"(?:{item},{_WS}){{0,{_RUN_MAX}}}+(?:{key}(?P<opened>[{{\[]){_WS}|(?P<last>{item}(?=[}}\]]))|)"
    return re.compile(text.encode())


_ITEMS: Final = {b"}": _items(_KEY), b"]": _items("")}
_END_OF: Final = {b"{": b"}", b"[": b"]"}
_BEGIN: Final = re.compile(rf"{_WS}\{{{_WS}".encode())
_END: Final = re.compile(rf"(?P<end>[}}\]]){_WS}(?P<comma>,{_WS})?+".encode())


def is_json_object(data: bytes) -> bool:
    """Return whether `data` is one JSON object in UTF-8, nested DEPTH_MAX deep at most. Keys may repeat.

    A small one is parsed. A larger one is matched, at 20 to 200 MB/s for common results, and at 2 MB/s if all values
    are deeper than _DEPTH_AT_ONCE. Uses 4 MiB of memory at most, whatever the size of `data`.
    """
    if sys.version_info < (3, 11, 5) or _is_small(data):
        return is_parsed_object(data)
    return is_matched_object(data)


def _is_small(data: bytes) -> bool:
    return len(data) <= _PARSED_BYTES and data.count(b"[") + data.count(b"{") <= _PARSED_CONTAINERS


def is_parsed_object(data: bytes) -> bool:
    """Return what is_json_object returns, by parsing.

    Parsing takes several times the memory and allows about 1,000 levels. It is for small objects, and for all objects
    with Python before 3.11.5, as in Debian 12, whose `re` loses groups behind possessive quantifiers (CPython issue
    gh-106052).
    """
    try:
        return isinstance(_parse(data.decode()), dict)
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        return False


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_parse: Final = json.JSONDecoder(parse_constant=_refuse).decode


def is_matched_object(data: bytes) -> bool:
    """Return what is_json_object returns, by matching the grammar."""
    begin = _BEGIN.match(data)
    return begin is not None and _is_utf8(data) and _ends_well(data, begin.end())


def _ends_well(data: bytes, at: int) -> bool:
    """Return whether the object in `data` is valid up to the end of `data`. Its content starts at the position `at`."""
    around = [b"}"]  # the closing bracket of each container around `at`, the innermost last
    ends = data.startswith(b"}", at)  # whether the innermost container ends at `at`; otherwise an item begins there
    while around:
        if ends:
            end = _END.match(data, at)
            if end is None or end["end"] != around.pop():
                return False
            at, ends = end.end(), end["comma"] is None
            continue
        items = _ITEMS[around[-1]].match(data, at)
        if items is None or items.end() == at:
            return False
        at, ends = items.end(), items["last"] is not None
        if opened := items["opened"]:
            around.append(_END_OF[opened])
            ends = data.startswith(around[-1], at)
        if len(around) > DEPTH_MAX:
            return False
    return ends and at == len(data)


def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for start in range(0, len(view), _DECODED_BYTES):
            decoder.decode(view[start : start + _DECODED_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
