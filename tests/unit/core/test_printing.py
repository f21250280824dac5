"""Text from clients and handlers, as printed for a person and for a program."""

from __future__ import annotations

import pytest

from insula.printing import visible


def test_characters_that_could_hide_a_line_are_escapes() -> None:
    """Escape sequences, carriage returns, and characters that change the direction of the text are shown as escapes."""
    hidden = b"rm -rf ~ # \x1b[2K\r\techo \xe2\x80\xae \xff \xc3\xa9\n"
    assert visible(hidden) == "rm -rf ~ # \\x1b[2K\\r\techo \\u202e \\xff é\n"


CONTROLS = [*range(9), *range(11, 32), *range(127, 160)]
FORMATTING = [0xAD, 0x61C, 0x200B, 0x200E, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF, 0xE0001, 0xDC80]


@pytest.mark.parametrize("code", CONTROLS + FORMATTING, ids=hex)
def test_a_control_or_invisible_character_is_an_escape(code: int) -> None:
    assert visible(chr(code)) == ascii(chr(code))[1:-1]


def test_all_other_characters_are_unchanged() -> None:
    text = "a\tb\nc ~ é 日本\u3000語 \u00a0 🏝 \\ [red] :smile:"
    assert visible(text) == text
