"""Explains why a result is not JSON-serializable: which value, its place, and what to return instead.

A place is a path in the result, such as `items[3].score`. Its steps are `items`, `[3]` and `.score`.

Used only after the encoder has refused a result. It compares names of types, so it imports no other library.
"""

from __future__ import annotations

import math
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

SHOWN_CHARACTERS_MAX = 200
PLAIN = (str, int, float, bool, type(None))

TO_LIST = "return x.tolist()"
TO_TEXT = "return str(x)"
TO_ISO = "return x.isoformat()"
TO_ITEMS = "return list(x)"
TO_BASE64 = "return base64.b64encode(x).decode()"
TO_NONE = "return None"
CURES = {
    "numpy.ndarray": TO_LIST,
    "numpy.bool_": "return bool(x), or .tolist() for arrays",
    "numpy.bool": "return bool(x), or .tolist() for arrays",
    "numpy.datetime64": TO_TEXT,
    "numpy.timedelta64": TO_TEXT,
    "torch.Tensor": TO_LIST,
    "torch.nn.parameter.Parameter": TO_LIST,
    "tensorflow.python.framework.ops.EagerTensor": "return x.numpy().tolist()",
    "pandas.core.frame.DataFrame": "return x.to_dict('records')",
    "pandas.core.series.Series": TO_LIST,
    "pandas._libs.tslibs.nattype.NaTType": TO_NONE,
    "pandas._libs.missing.NAType": TO_NONE,
    "datetime.datetime": TO_ISO,
    "datetime.date": TO_ISO,
    "datetime.time": TO_ISO,
    "datetime.timedelta": "return x.total_seconds()",
    "decimal.Decimal": "return float(x), or str(x) to keep each digit",
    "fractions.Fraction": "return float(x)",
    "complex": "return [x.real, x.imag]",
    "uuid.UUID": TO_TEXT,
    "pathlib.PurePath": TO_TEXT,
    "enum.Enum": "return x.value",
    "PIL.Image.Image": "save it to S3 and return where it is, or return its bytes in base64",
    "bytes": TO_BASE64,
    "bytearray": TO_BASE64,
    "memoryview": TO_BASE64,
    "set": TO_ITEMS,
    "frozenset": TO_ITEMS,
    "range": TO_ITEMS,
    "generator": TO_ITEMS,
    "map": TO_ITEMS,
    "filter": TO_ITEMS,
    "zip": TO_ITEMS,
    "dict_keys": TO_ITEMS,
    "dict_values": TO_ITEMS,
    "dict_items": TO_ITEMS,
    "collections.deque": TO_ITEMS,
    "mappingproxy": "return dict(x)",
    "collections.UserDict": "return dict(x)",
    "coroutine": "await it",
}
NUMBERS = {"numpy.integer": "int", "numpy.floating": "float", "numpy.complexfloating": "complex"}
TO_DICT = (
    ("model_dump", "return x.model_dump(mode='json')"),
    ("__dataclass_fields__", "return dataclasses.asdict(x)"),
    ("__attrs_attrs__", "return attrs.asdict(x)"),
    ("__fields__", "return x.dict()"),
)
"""Attributes of the classes of pydantic, dataclasses, attrs and pydantic 1, and how to convert an object to a dict."""
OTHERWISE = "return what it holds as a dict, list, str, int, float, bool or None"


class Level(NamedTuple):
    """A container that holds the current value, directly or deeper.

    `items` has its items that are not checked yet. `step` is the last step of the container's own place.
    """

    container: Any
    items: Iterator[Tuple[str, Any]]
    step: str


class KeyFault(NamedTuple):
    """A key that JSON does not allow."""

    key: Any


def describe_kind(result: object) -> str:
    """Return the error text for a result that is not a dictionary."""
    if result is None:
        return "handle_async returned None; it must return a dict"
    kind = kind_of(result)
    cure = cure_to_dict(kind)
    return f"handle_async returned {a(kind)}; it must return a dict{': ' + cure if cure else ''}"


def find_fault(result: Any) -> Optional[str]:
    """Return which value is not JSON-serializable, its place, and the cure; None if no such value is found.

    Raises anything that a container class of the user raises.
    """
    path: List[Level] = [Level(result, children(result), "")]
    around = {id(result)}
    while path:
        item = next(path[-1].items, None)
        if item is None:
            around.remove(id(path.pop().container))
            continue
        step, value = item
        if id(value) in around:
            return f"the result holds itself at {shown(path, step)}; return a copy without that"
        fault = fault_of(value, path, step)
        if fault is not None:
            return fault
        if is_container(value):
            path.append(Level(value, children(value), step))
            around.add(id(value))
    return None


def children(container: Any) -> Iterator[Tuple[str, Any]]:
    """Yield the step to each value of a container, and the value, or a KeyFault if JSON does not allow its key."""
    held: Any = container
    if isinstance(container, dict):
        for key, value in held.items():
            sayable = isinstance(key, PLAIN) and not is_no_number(key)
            yield step_of(key), value if sayable else KeyFault(key)
    else:
        for index, value in enumerate(held):
            yield f"[{index}]", value


def kind_of(value: object) -> type:
    """Return the value's type."""
    return type(value)


def is_container(value: object) -> bool:
    """Whether the value is a container that JSON can represent: a dict, list or tuple."""
    return isinstance(value, (dict, list, tuple))


def is_no_number(value: Any) -> bool:
    """Whether the value is NaN or infinity."""
    return isinstance(value, float) and not math.isfinite(value)


def fault_of(value: Any, path: List[Level], step: str) -> Optional[str]:
    """Return why `value` is not JSON-serializable; None if it is. The items of a container are not checked here."""
    if isinstance(value, KeyFault):
        kind = kind_of(value.key)
        return f"the result has {a(kind)} for a key at {shown(path, step)}; keys of JSON are strings: use str(key)"
    if is_no_number(value):
        cure = "JSON has no such number: return None, or a text"
        return f"the result holds {float(value)} at {shown(path, step)}; {cure}"
    if is_container(value) or isinstance(value, PLAIN):
        return None
    kind = kind_of(value)
    return f"the result holds {a(kind)} at {shown(path, step)}; {cure_of(kind)}"


def cure_of(kind: type) -> str:
    """Return what to do with a value of this type, such as "return x.tolist()"."""
    for name in (name_of(base) for base in kind.__mro__):
        if name in CURES:
            return CURES[name]
        if name in NUMBERS:
            return f"return {NUMBERS[name]}(x), or .tolist() for arrays"
    return cure_to_dict(kind) or (TO_LIST if hasattr(kind, "tolist") else OTHERWISE)


def cure_to_dict(kind: type) -> str:
    """Return how to convert a value of this type into a dictionary; empty if unknown."""
    return next((cure for attribute, cure in TO_DICT if hasattr(kind, attribute)), "")


def shown(path: List[Level], step: str) -> str:
    """Return the place of the value at `step` in the last container of `path`. A long place loses its beginning."""
    way = "".join([*(level.step for level in path), step]).lstrip(".")
    return f"`{way if len(way) <= SHOWN_CHARACTERS_MAX else '…' + way[-SHOWN_CHARACTERS_MAX:]}`"


def step_of(key: Any) -> str:
    """Return the step from a dictionary to the value of this key, such as `.score` or `['a key']`."""
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    text = repr(key)
    return f"[{text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + '…'}]"


def a(kind: type) -> str:
    """Return the name of a type with its article: an int, a numpy.float32."""
    name = name_of(kind)
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def name_of(kind: type) -> str:
    """Return the type's name with its module; builtins have none."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
