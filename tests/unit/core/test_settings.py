from __future__ import annotations

from datetime import timedelta

import pytest

from insula.settings import SettingInvalid, StoreSettings

REDIS = {"INSULA_REDIS_URL": "redis://127.0.0.1:6379"}


def test_defaults_are_those_of_the_design() -> None:
    settings = StoreSettings.read(REDIS)
    assert settings.policy.lease == timedelta(seconds=30)
    assert settings.policy.retention == timedelta(days=7)
    assert settings.policy.max_deliveries == 3
    assert settings.durability == "strict"


@pytest.mark.parametrize(
    ("name", "value"),
    [("INSULA_LEASE_S", "0"), ("INSULA_LEASE_S", "-1"), ("INSULA_RETENTION_S", "7d"), ("INSULA_DURABILITY", "maybe")],
)
def test_a_malformed_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=f"{name} must be .*{value}"):
        StoreSettings.read({**REDIS, name: value})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SettingInvalid, match="INSULA_REDIS_URL must be set"):
        StoreSettings.read({})
