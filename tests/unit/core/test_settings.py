from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from insula.settings import StoreSettings, admin_token
from insula.variables import SettingInvalid

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
def test_the_error_of_a_malformed_variable_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=f"{name} must be .*{value}"):
        StoreSettings.read({**REDIS, name: value})


def test_the_error_of_a_missing_variable_names_it() -> None:
    with pytest.raises(SettingInvalid, match="INSULA_REDIS_URL, or INSULA_REDIS_URL_FILE, must be set"):
        StoreSettings.read({})


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://user:secret@127.0.0.1:6379\n")
    assert StoreSettings.read({"INSULA_REDIS_URL_FILE": str(file)}).redis_url == "redis://user:secret@127.0.0.1:6379"
    with pytest.raises(SettingInvalid, match="either INSULA_REDIS_URL or INSULA_REDIS_URL_FILE, not both"):
        StoreSettings.read({**REDIS, "INSULA_REDIS_URL_FILE": str(file)})
    with pytest.raises(SettingInvalid, match=r"INSULA_REDIS_URL_FILE: .*missing cannot be read"):
        StoreSettings.read({"INSULA_REDIS_URL_FILE": str(tmp_path / "missing")})


def test_an_admin_service_on_tcp_needs_a_token() -> None:
    assert admin_token({}, "unix:///run/submit.sock") is None
    assert admin_token({"INSULA_ADMIN_TOKEN": "t"}, "127.0.0.1:9000") == "t"
    with pytest.raises(SettingInvalid, match="INSULA_ADMIN_TOKEN, or INSULA_ADMIN_TOKEN_FILE, must be set"):
        admin_token({}, "127.0.0.1:9000")
