"""Integers of any length in JSON, in the program that uses the client.

By default Python refuses to convert between integers and texts of more than 4,300 digits. The limit applies to the
whole interpreter, so it is lifted only for the conversions that need it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_LIFTED: Final = threading.Lock()


def with_any_integers(convert: Callable[[], T]) -> T:
    """Return the result of `convert`. If it raises ValueError, call it again without the limit on digits.

    Raises the errors of the second call.
    """
    try:
        return convert()
    except ValueError:
        with _LIFTED:
            digits_max = sys.get_int_max_str_digits()
            sys.set_int_max_str_digits(0)
            try:
                return convert()
            finally:
                sys.set_int_max_str_digits(digits_max)
