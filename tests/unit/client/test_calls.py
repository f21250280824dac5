"""The code that insula.Client and insula.AsyncClient share."""

from __future__ import annotations

import pytest

from insula.client.calls import target_of
from insula.errors import InvalidArgument


@pytest.mark.parametrize(
    ("url", "address", "tls"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", False),
        ("http://localhost/", "localhost:80", False),
        ("https://insula.example.com", "insula.example.com:443", True),
        ("https://insula.example.com:8443", "insula.example.com:8443", True),
        ("http://[::1]:8080", "[::1]:8080", False),
    ],
)
def test_a_url_names_the_target(url: str, address: str, tls: bool) -> None:
    target = target_of(url)
    assert (target.address, target.tls) == (address, tls)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://a/b", "http://u:p@a", "http://["],
)  # fmt: skip
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="url: must"):
        target_of(url)


def test_a_proxy_is_used_only_for_other_machines() -> None:
    assert ("grpc.enable_http_proxy", 0) in target_of("http://127.0.0.1:8080").options
    assert ("grpc.enable_http_proxy", 0) not in target_of("http://10.0.0.1:8080").options
