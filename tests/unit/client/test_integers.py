"""JSON with integers over Python's default limit of digits."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest

from insula.client.integers import with_any_integers

NUMBER = 10**5000


def test_integers_of_any_length_are_converted_and_the_limit_stays() -> None:
    """Insula does not change Python's limit, because other code of the program may rely on it."""
    assert sys.get_int_max_str_digits() == 4300
    text = with_any_integers(partial(json.dumps, {"n": NUMBER}))
    assert with_any_integers(partial(json.loads, text)) == {"n": NUMBER}
    with pytest.raises(ValueError, match="not JSON compliant"):
        with_any_integers(partial(json.dumps, float("nan"), allow_nan=False))
    assert sys.get_int_max_str_digits() == 4300
