from __future__ import annotations

import uuid

import pytest

from insula.ids import is_id, new_id


def test_an_id_is_a_version_7_uuid_in_canonical_form() -> None:
    for id in (new_id() for _ in range(1000)):
        assert str(uuid.UUID(id)) == id
        assert (uuid.UUID(id).version, uuid.UUID(id).variant) == (7, uuid.RFC_4122)
        assert is_id(id)


def test_ids_sort_by_the_millisecond_they_were_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for ms in (1, 2, 1_795_470_203_169, 1_795_470_203_170):
        monkeypatch.setattr("time.time_ns", lambda ms=ms: ms * 1_000_000)
        made.append(new_id())
    assert made == sorted(made)


@pytest.mark.parametrize(
    "text",
    ["", "x", "../..", new_id().upper(), new_id() + "\n", str(uuid.uuid4()), new_id().replace("-", ""), "{" + new_id()],
)
def test_nothing_else_is_an_id(text: str) -> None:
    assert not is_id(text)
