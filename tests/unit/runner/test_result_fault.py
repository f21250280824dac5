"""The error of a refused result names the place of the fault, and what to return instead."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from collections import deque
from typing import Any

import pytest

from insula_runner.result import ResultInvalid, encode_result
from insula_runner.result_fault import OTHERWISE

CORTEX_KIND = "user response must be json serializable dictionary, got {} instead: "
CORTEX_JSON = "user response is not json serializable: "


def of_numpy(name: str, base: str) -> Any:
    """Return a fake scalar of numpy. Its class has this name, and a base class named `base`."""
    above = type(base, (), {"__module__": "numpy"})
    return type(name, (above,), {"__module__": "numpy", "tolist": None})()


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int


class Model:
    """A fake of a pydantic model, with the method by which it is recognised."""

    def model_dump(self) -> None: ...


class Opaque:
    pass


class Odd(dict[str, object]):
    def items(self) -> Any:
        raise ValueError("these items cannot be seen")


def circular() -> dict[str, object]:
    around: dict[str, object] = {}
    around["items"] = [{"back": around}]
    return around


HERE = __name__
NUMBERS: dict[str, int] = {}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (
            {"v": of_numpy("float32", "floating")},
            "holds a numpy.float32 at `v`; return float(x), or .tolist() for arrays",
        ),
        ({"v": of_numpy("int64", "integer")}, "holds a numpy.int64 at `v`; return int(x), or .tolist() for arrays"),
        ({"v": of_numpy("ndarray", "generic")}, "holds a numpy.ndarray at `v`; return x.tolist()"),
        ({"items": [1, 2, 3, {"score": 1j}]}, "holds a complex at `items[3].score`; return [x.real, x.imag]"),
        ({"a b": ({"é": {1}},)}, "holds a set at `['a b'][0].é`; return list(x)"),
        ({1: {None: b""}}, "holds a bytes at `[1][None]`; return base64.b64encode(x).decode()"),
        ({"at": datetime.date(2021, 1, 19)}, "holds a datetime.date at `at`; return x.isoformat()"),
        ({"for": datetime.timedelta(1)}, "holds a datetime.timedelta at `for`; return x.total_seconds()"),
        ({"d": decimal.Decimal(1)}, "holds a decimal.Decimal at `d`; return float(x), or str(x) to keep each digit"),
        ({"id": uuid.UUID(int=1)}, "holds a uuid.UUID at `id`; return str(x)"),
        ({"path": pathlib.PurePosixPath("a")}, "holds a pathlib.PurePosixPath at `path`; return str(x)"),
        ({"colour": Colour.RED}, f"holds a {HERE}.Colour at `colour`; return x.value"),
        ({"point": Point(1)}, f"holds a {HERE}.Point at `point`; return dataclasses.asdict(x)"),
        ({"model": Model()}, f"holds a {HERE}.Model at `model`; return x.model_dump(mode='json')"),
        ({"queue": deque([1])}, "holds a collections.deque at `queue`; return list(x)"),
        ({"keys": NUMBERS.keys()}, "holds a dict_keys at `keys`; return list(x)"),
        ({"all": (each for each in "ab")}, "holds a generator at `all`; return list(x)"),
        ({"made": Opaque()}, f"holds a {HERE}.Opaque at `made`; {OTHERWISE}"),
        ({"scores": [0.5, math.nan]}, "holds nan at `scores[1]`; JSON has no such number: return None, or a text"),
        ({"a": -math.inf}, "holds -inf at `a`; JSON has no such number: return None, or a text"),
        ({"a": {(1, 2): 3}}, "has a tuple for a key at `a[(1, 2)]`; keys of JSON are strings: use str(key)"),
        (circular(), "holds itself at `items[0].back`; return a copy without that"),
    ],
)
def test_the_place_and_the_cure_follow_cortex_text(result: dict[Any, Any], told: str) -> None:
    with pytest.raises(ResultInvalid) as refused:
        encode_result(result)
    assert str(refused.value) == f"{CORTEX_JSON}the result {told}"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (1, "handle_async returned an int; it must return a dict"),
        (None, "handle_async returned None; it must return a dict"),
        ([], "handle_async returned a list; it must return a dict"),
        (Point(1), f"handle_async returned a {HERE}.Point; it must return a dict: return dataclasses.asdict(x)"),
    ],
)
def test_what_is_no_dictionary_is_named(result: object, told: str) -> None:
    with pytest.raises(ResultInvalid) as refused:
        encode_result(result)
    assert str(refused.value) == CORTEX_KIND.format(type(result)) + told


def test_a_long_way_shows_its_end() -> None:
    result: dict[str, object] = {"end": {1}}
    for _ in range(100):
        result = {"between": result}
    with pytest.raises(ResultInvalid, match=r" at `…[a-z.]{188}\.between\.end`; return list\(x\)$"):
        encode_result(result)


def test_errors_of_the_users_own_containers_are_told() -> None:
    with pytest.raises(ResultInvalid, match=r"these items cannot be seen$"):
        encode_result({"odd": Odd(a=1)})
