from __future__ import annotations

from insula_local.supervision.supervise import FORGIVEN_AFTER_S, LONGEST_DELAY_S, Backoff


def test_the_delay_doubles_up_to_its_limit() -> None:
    backoff = Backoff()
    assert [backoff.after(1) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_DELAY_S, LONGEST_DELAY_S]


def test_a_long_life_resets_the_delay() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(1)
    assert backoff.after(FORGIVEN_AFTER_S) == 0.1
