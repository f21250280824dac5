from __future__ import annotations

import pytest

from insula.process.exit_code import describe_end


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with code 0"),
        (3, "ended with code 3"),
        (-11, "was killed by signal 11 (SIGSEGV)"),
        (-9, "was killed by signal 9 (SIGKILL, which the kernel sends when memory runs out)"),
        (-50, "was killed by signal 50"),
    ],
)
def test_an_exit_code_is_described_in_words(code: int, words: str) -> None:
    assert describe_end(code) == words
