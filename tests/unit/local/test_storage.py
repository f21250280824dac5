from __future__ import annotations

import json
from dataclasses import asdict

from insula_local.machine import hosts
from insula_local.seaweedfs.storage import Keys


def test_stored_keys_are_kept_and_new_keys_are_unique() -> None:
    keys = Keys.parse("{}")
    assert Keys.parse(keys.render()) == keys
    assert Keys.parse("{}").secret_key != keys.secret_key
    assert keys.secret_key != keys.handlers_secret_key


def test_a_missing_key_of_an_old_data_directory_is_added() -> None:
    older = {name: value for name, value in asdict(Keys.parse("{}")).items() if name != "token_key"}
    keys = Keys.parse(json.dumps(older))
    assert asdict(keys) == older | {"token_key": keys.token_key}
    assert len(keys.token_key) == 64


def test_the_hosts_file_has_each_api() -> None:
    """The machine's own names come first, then one line for each API."""
    text = hosts.render("127.0.0.9", ["one", "two"])
    assert text.endswith("\n127.0.0.9 api-one\n127.0.0.9 api-two\n")
    assert "localhost" in text
