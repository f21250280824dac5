"""Checks which bytes are one JSON object: those that json.loads accepts, without Python's extensions of JSON."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula_worker.attempts.json_object import DEPTH_MAX, is_json_object, is_matched_object, is_parsed_object

GOOD = (
    b"{}",
    b" {} ",
    b'{"a": 1, "a": 2}',
    b'{"a": "\\ud800"}',
    b'{"a": 1e400, "b": -0.0, "c": ' + b"9" * 5000 + b"}",
    b'{"a": [[[[{}]]], [[[]]], {"b": {"c": {"d": [[], {}]}}}]}',
    b'{"a": [' + b"1, " * 10_000 + b"1]}",
    b'{"a": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    b"{" + b'"a": [1],' * 10_000 + b'"a": 1}',
    b'{"a":' + b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1) + b"}",
)
BAD = (
    b"",
    b"[]",
    b"1",
    b"{",
    b"{,}",
    b"{} {}",
    b'\xef\xbb\xbf{"a": 1}',
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": 01}',
    b'{"a": "\xff"}',
    b'{"\xed\xa0\x80": 1}',
    b'{"a": "\x01"}',
    b'{"a": "\\u12g4"}',
    b"{'a': 1}",
    b'{"a": [[[1]]] "b": 1}',
    b'{"a": [[[1]]], }',
    b'{"a": [[[1]],]}',
    b'{"a": [[[1]}]}',
    b'{"a": [' + b"1, " * 10_000 + b"]}",
    b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}",
    b'{"a":' + b"[" * 1_000_000,
)


@pytest.mark.parametrize("data", GOOD, ids=lambda data: repr(data[:24]))
def test_a_json_object_is_accepted(data: bytes) -> None:
    assert is_json_object(data)
    assert is_matched_object(data)


@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:24]))
def test_other_bytes_are_refused(data: bytes) -> None:
    assert not is_json_object(data)
    assert not is_matched_object(data)
    assert not is_parsed_object(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.sampled_from([None, 1]), st.data())
def test_it_agrees_with_python(value: object, ascii_only: bool, indent: int | None, data: st.DataObject) -> None:
    """The check with regular expressions agrees with Python's JSON parser on any object, also after it was damaged."""
    encoded = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert is_matched_object(encoded) == is_parsed_object(encoded)
    place = data.draw(st.integers(0, len(encoded)))
    inserted = bytes(data.draw(st.lists(st.sampled_from(b'{}[],:"\\0-.eEu \n\x01\xff'), max_size=2)))
    damaged = encoded[:place] + inserted + encoded[place + data.draw(st.integers(0, 2)) :]
    assert is_matched_object(damaged) == is_parsed_object(damaged)


def test_checking_a_large_result_takes_less_than_4_mib_of_memory() -> None:
    """The result has 16 MB of small strings and objects. A parser takes more than 100 MB for them."""
    data = b'{"a": [' + b'"ab", {"n": [1]},' * 1_000_000 + b"0]}"
    tracemalloc.start()
    try:
        assert is_json_object(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
