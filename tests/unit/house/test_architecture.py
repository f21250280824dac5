"""docs/architecture.md shows every key of Redis and S3."""

from __future__ import annotations

import re

from insula import keys
from insula.stores import object_keys
from tests.unit.house.tree import ROOT

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_every_key_is_explained() -> None:
    of_api = keys.ApiKeys("api")
    fixed = {value for value in vars(of_api).values() if isinstance(value, str)} - {of_api.prefix}
    made = {
        of_api.workload("<id>"),
        of_api.idempotency("<hash>"),
        f"{of_api.prefix}ended:<bucket>",
    }
    objects = {
        object_keys.payload_object("<api>", "<id>"),
        object_keys.bundle_object("<version>"),
        "<api>/<id>/result.<attempt>",
        "<api>/<id>/traceback.<attempt>",
    }
    explained = set(re.findall(r"^\| `(\S+)` \|", PAGE, re.MULTILINE))
    assert explained >= {keys.APIS, keys.ENDPOINTS} | fixed | made | objects
