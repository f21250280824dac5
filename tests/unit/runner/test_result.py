"""Guarantees P4 and P6: some results are refused, and the others are serialised without a change."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, UserDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula_runner import result as result_module
from insula_runner.result import ResultInvalid, ResultTooLarge, encode_result

leaves = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_a_result_survives_exactly(result: dict[str, object]) -> None:
    """Big integers, the last bit of floats, lone surrogates and the order of keys survive."""
    encoded = encode_result(result)
    assert json.loads(encoded.decode("utf-8")) == result
    assert list(json.loads(encoded)) == list(result)


def test_text_stays_readable() -> None:
    assert encode_result({"é": "Grüße, 世界"}) == '{"é": "Grüße, 世界"}'.encode()


def test_a_lone_surrogate_becomes_its_escape() -> None:
    assert encode_result({"a": "\ud800é"}) == rb'{"a": "\ud800\u00e9"}'


def test_dictionaries_of_other_classes_are_dictionaries() -> None:
    assert encode_result(OrderedDict(b=1, a=2)) == b'{"b": 1, "a": 2}'


@pytest.mark.parametrize("result", [None, [], "text", 1, b"{}", UserDict[str, int]()])
def test_anything_but_a_dictionary_is_refused_with_cortex_text(result: object) -> None:
    with pytest.raises(ResultInvalid) as refused:
        encode_result(result)
    cortex = f"user response must be json serializable dictionary, got {type(result)} instead"
    assert str(refused.value).startswith(f"{cortex}: handle_async returned ")


def circular() -> dict[str, object]:
    loop: dict[str, object] = {}
    loop["self"] = loop
    return loop


def deep() -> dict[str, object]:
    nested: object = 1
    for _ in range(200_000):
        nested = [nested]
    return {"nested": nested}


@pytest.mark.parametrize(
    "result",
    [
        {"a": {1, 2}},
        {"a": b"bytes"},
        {("tuple",): 1},
        {"a": object()},
        {"a": math.nan},
        {"a": [math.inf]},
        {math.nan: 1},
        {"a": 10**5000},
        circular(),
    ],
)
def test_what_json_cannot_say_is_refused_with_cortex_text(result: dict[object, object]) -> None:
    with pytest.raises(ResultInvalid, match=r"^user response is not json serializable: "):
        encode_result(result)


def test_a_result_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ResultInvalid, match=r"^user response is not json serializable: it is nested deeper than"):
        encode_result(deep())


def test_a_result_over_the_limit_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_module, "RESULT_BYTES_MAX", 20)
    assert encode_result({"a": "x" * 11}) == b'{"a": "xxxxxxxxxxx"}'
    with pytest.raises(ResultTooLarge, match="the result is 21 bytes of JSON, the limit is 20 bytes"):
        encode_result({"a": "x" * 12})
