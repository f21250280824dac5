"""Text from elsewhere as a person and as a program gets it."""

from __future__ import annotations

import pytest

from insula.printing import visible


def test_what_would_hide_a_line_is_spelled_out() -> None:
    """Escape sequences, carriage returns, and characters that turn the direction of the text."""
    hidden = b"rm -rf ~ # \x1b[2K\r\techo \xe2\x80\xae \xff \xc3\xa9\n"
    assert visible(hidden) == "rm -rf ~ # \\x1b[2K\\r\techo \\u202e \\xff é\n"


CONTROLS = [*range(9), *range(11, 32), *range(127, 160)]
FORMATTING = [0xAD, 0x61C, 0x200B, 0x200E, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF, 0xE0001, 0xDC80]


@pytest.mark.parametrize("code", CONTROLS + FORMATTING, ids=hex)
def test_a_character_that_steers_or_hides_is_an_escape(code: int) -> None:
    assert visible(chr(code)) == ascii(chr(code))[1:-1]


def test_everything_else_stays() -> None:
    text = "a\tb\nc ~ é 日本\u3000語 \u00a0 🏝 \\ [red] :smile:"
    assert visible(text) == text
