from __future__ import annotations

import uuid

import pytest

from insula.ids import is_id, new_id


def test_an_id_is_a_version_7_uuid_in_canonical_form() -> None:
    for id in (new_id() for _ in range(1000)):
        assert str(uuid.UUID(id)) == id
        assert (uuid.UUID(id).version, uuid.UUID(id).variant) == (7, uuid.RFC_4122)
        assert is_id(id)


def test_ids_sort_by_the_millisecond_of_their_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for ms in (1, 2, 1_795_470_203_169, 1_795_470_203_170):
        monkeypatch.setattr("time.time_ns", lambda ms=ms: ms * 1_000_000)
        made.append(new_id())
    assert made == sorted(made)


ID = "01a218e3-ab72-73d6-b664-5192c4a18d26"


@pytest.mark.parametrize(
    "text",
    ["", "x", "../..", ID.upper(), ID + "\n", "ed79a4c1-4ab4-4ed8-a7b5-7a52e3ed2e85", ID.replace("-", ""), "{" + ID],
)
def test_any_other_text_is_not_an_id(text: str) -> None:
    assert not is_id(text)
