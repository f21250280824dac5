from __future__ import annotations

from dataclasses import replace

import pytest

from insula.registry import Registration, version_of
from insula_worker.installation import VersionMismatch, check_version

SPEC, BUNDLE = '{"name": "echo"}', b"PK..."
REGISTERED = Registration("echo", "/echo", version_of(SPEC.encode(), BUNDLE), SPEC, 1, 0, 0)


def test_a_version_is_the_first_32_hex_digits_of_the_hash_of_configuration_and_bundle() -> None:
    """The version is recorded here, because it must not change: it names stored bundles and workloads."""
    assert REGISTERED.version == "1943100cf478e3f1fab1a23bc8cb288d"
    check_version(REGISTERED, BUNDLE)


@pytest.mark.parametrize(
    ("registration", "bundle"),
    [
        (REGISTERED, b"PK...."),
        (replace(REGISTERED, spec='{"name":"echo"}'), BUNDLE),
        (replace(REGISTERED, version="0" * 32), BUNDLE),
    ],
)
def test_a_changed_configuration_bundle_or_version_is_refused(registration: Registration, bundle: bytes) -> None:
    with pytest.raises(VersionMismatch, match=f"configuration and bundle of version {registration.version} hash to "):
        check_version(registration, bundle)
