"""Integers of any length in JSON, in a program that is not ours.

Python refuses to turn more than 4,300 digits into an integer, or an integer into more: the limit is the interpreter's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_LIFTED: Final = threading.Lock()


def with_any_integers(convert: Callable[[], T]) -> T:
    """Return what `convert` does. If it fails, it is tried again without the limit, for as long as that takes.

    Raises what the second try raised.
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
