"""The settings of the edge in a container."""

from __future__ import annotations

import pytest

from insula.variables import SettingInvalid
from insula_envoy import render_s3_stream
from insula_envoy.settings import Settings

REQUIRED = {"INSULA_SUBMIT": "insula-submit:9000", "INSULA_RESULTS": "insula-results:9000"}


def test_without_more_settings_there_is_no_s3_and_no_limit() -> None:
    edge = Settings.read(REQUIRED)
    assert (edge.s3, edge.address_requests_per_s, edge.cors_origins) == ("", 0, ("*",))


def test_origins_are_separated_by_commas() -> None:
    edge = Settings.read({**REQUIRED, "INSULA_CORS_ORIGINS": "https://a.example, https://b.example"})
    assert edge.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"INSULA_SUBMIT": ""}, "INSULA_SUBMIT"),
        ({"INSULA_ADDRESS_REQUESTS_PER_S": "many"}, "INSULA_ADDRESS_REQUESTS_PER_S"),
        ({"INSULA_PAYLOAD_BYTES_MAX": "0"}, "INSULA_PAYLOAD_BYTES_MAX"),
    ],
)
def test_an_invalid_setting_is_named(changed: dict[str, str], named: str) -> None:
    with pytest.raises(SettingInvalid, match=named):
        Settings.read({**REQUIRED, **changed})


def test_s3_is_passed_on_to_its_host_and_port() -> None:
    assert '"address": "insula-s3", "port_value": 8333' in render_s3_stream("0.0.0.0", 8333, "insula-s3:8333")
