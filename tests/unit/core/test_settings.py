from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from insula.settings import StoreSettings, admin_token, redis_url
from insula.stores.objects import Bucket
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


@pytest.mark.parametrize(
    ("url", "given", "completed"),
    [
        ("redis://h:1/0", {}, "redis://h:1/0"),
        ("redis://h:1/0", {"USER": "u"}, "redis://u:@h:1/0"),
        ("redis://h", {"PASSWORD": "p@/:#%"}, "redis://:p%40%2F%3A%23%25@h"),
        ("rediss://u:old@h:1?db=2", {"PASSWORD": "new"}, "rediss://u:new@h:1?db=2"),
        ("rediss://u:old@h:1", {"USER": "v"}, "rediss://v:old@h:1"),
        ("unix:///run/redis.sock", {"USER": "u", "PASSWORD": "p"}, "unix://u:p@/run/redis.sock"),
        ("redis://u:p@[::1]:1/0", {"USER": "v"}, "redis://v:p@[::1]:1/0"),
    ],
)
def test_user_and_password_replace_those_in_the_url(url: str, given: dict[str, str], completed: str) -> None:
    environment = {f"INSULA_REDIS_{name}": value for name, value in given.items()}
    assert redis_url({"INSULA_REDIS_URL": url, **environment}) == completed


def test_the_password_and_the_certificates_may_be_in_files(tmp_path: Path) -> None:
    secret, authority = tmp_path / "password", tmp_path / "ca.pem"
    secret.write_text("s3cret\n")
    authority.touch()
    given = {"INSULA_REDIS_PASSWORD_FILE": str(secret), "INSULA_REDIS_CA_FILE": str(authority)}
    settings = StoreSettings.read({"INSULA_REDIS_URL": "rediss://u@h", **given})
    assert settings.redis_url == f"rediss://u:s3cret@h?ssl_ca_certs={quote(str(authority))}"
    assert "s3cret" not in repr(settings)
    with pytest.raises(
        SettingInvalid, match="INSULA_REDIS_CA_FILE needs an INSULA_REDIS_URL that starts with rediss://"
    ):
        redis_url({"INSULA_REDIS_URL": "redis://h", **given})
    with pytest.raises(SettingInvalid, match="INSULA_REDIS_CA_FILE: there is no file /nowhere"):
        redis_url({"INSULA_REDIS_URL": "rediss://h", "INSULA_REDIS_CA_FILE": "/nowhere"})


@pytest.mark.parametrize(
    "url", ["http://u:s3cret@h", "redis://u:s3cret/@h:1", "redis://u:s3cret@h:port", "redis://[s3cret"]
)
def test_a_malformed_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingInvalid, match="INSULA_REDIS_URL: it is not a URL such as") as refused:
        redis_url({"INSULA_REDIS_URL": url})
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_how_the_bucket_is_named_may_be_chosen() -> None:
    assert StoreSettings.read(REDIS).bucket == Bucket("insula", "auto")
    assert StoreSettings.read({**REDIS, "INSULA_S3_ADDRESSING": "virtual"}).bucket.addressing == "virtual"
    with pytest.raises(SettingInvalid, match="INSULA_S3_ADDRESSING must be one of auto, path, virtual"):
        StoreSettings.read({**REDIS, "INSULA_S3_ADDRESSING": "host"})


def test_an_admin_service_on_tcp_needs_a_token() -> None:
    assert admin_token({}, "unix:///run/submit.sock") is None
    assert admin_token({"INSULA_ADMIN_TOKEN": "t"}, "127.0.0.1:9000") == "t"
    with pytest.raises(SettingInvalid, match="INSULA_ADMIN_TOKEN, or INSULA_ADMIN_TOKEN_FILE, must be set"):
        admin_token({}, "127.0.0.1:9000")
