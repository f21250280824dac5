"""Checks the result of a handler, and serialises it once. Every client that reads the result gets these bytes."""

from __future__ import annotations

import json
from typing import Any

from insula_runner.frames import RESULT_BYTES_MAX
from insula_runner.result_fault import describe_kind, find_fault

# Not only ASCII: other scripts stay readable, and need a third of the bytes.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_encode_ascii = json.JSONEncoder(allow_nan=False).encode


class ResultInvalid(Exception):
    """The handler returned something other than a JSON-serializable dictionary."""


class ResultTooLarge(Exception):
    """The result's JSON is larger than RESULT_BYTES_MAX."""


def encode_result(result: Any) -> bytes:
    """Return the result as UTF-8 JSON, with the numbers, the order of keys and the text of the handler's dictionary.

    NaN and infinity are refused: they are not JSON, so clients could not parse the result.
    Raises ResultInvalid, ResultTooLarge.
    """
    if not isinstance(result, dict):
        kind = f"got {type(result)} instead: {describe_kind(result)}"
        raise ResultInvalid(f"user response must be json serializable dictionary, {kind}")
    try:
        encoded = _encode_utf8(result)
    except Exception as error:  # a subclass of dict runs user code here
        raise ResultInvalid(f"user response is not json serializable: {explain(result, error)}") from error
    if len(encoded) > RESULT_BYTES_MAX:
        limit = f"the limit is {RESULT_BYTES_MAX} bytes ({RESULT_BYTES_MAX >> 20} MiB)"
        advice = "store large results elsewhere and return where they are"
        raise ResultTooLarge(f"the result is {len(encoded)} bytes of JSON, {limit}; {advice}")
    return encoded


def explain(result: Any, error: Exception) -> str:
    """Return the place of the fault and its cure, or the encoder's text if the place is not found."""
    if isinstance(error, RecursionError):
        return "it is nested deeper than Python's encoder goes, about 1,000 levels; return it flatter"
    try:
        return find_fault(result) or str(error)
    except Exception:  # noqa: BLE001 - a subclass of dict runs user code
        return str(error)


def _encode_utf8(result: Any) -> bytes:
    try:
        return _encode(result).encode("utf-8")
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8 form; as an escape it is JSON, and reads back as the same string.
        return _encode_ascii(result).encode("ascii")
