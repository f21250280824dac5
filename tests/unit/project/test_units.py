"""Durations and quantities."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.project.configuration.units import DURATION_MAX, format_duration, parse_duration, parse_quantity


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("0s", 0), ("1h0m1s", 3601)],
)
def test_durations_have_the_notation_of_go(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "60", "s", "-1s", "1d", "1 s", "1s ", "1e3s", "٣s", "9" * 31 + "h", "8761h"])
def test_any_other_text_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_duration(text)


@given(st.integers(0, int(DURATION_MAX.total_seconds() * 1000)))
def test_a_duration_is_unchanged_by_its_text(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("200m", "0.2"), ("1", "1"), ("1.5", "1.5"), (".5", "0.5"), ("20Mi", 20 * 2**20), ("1G", 10**9), ("1Gi", 2**30),
        ("64k", 64_000), ("64K", 64_000), ("1e3", 1000), ("1E3", 1000), ("1E", 10**18), ("1Ei", 2**60),
    ],
)  # fmt: skip
def test_quantities_have_the_notation_of_kubernetes(text: str, amount: str | int) -> None:
    assert parse_quantity(text).amount == Decimal(amount)


@pytest.mark.parametrize("text", ["", "m", "1mi", "-1", "1 G", "1GB", "0x1", "1e999", "٣", "9" * 40])
def test_any_other_text_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def test_bytes_are_rounded_up() -> None:
    assert parse_quantity("1500m").bytes == 2
