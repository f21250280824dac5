"""Where the cache is, for users with and without a home."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from insula.cache import cache_folder, home_of

INSTEAD = Path("/data/cache")


def test_the_first_that_is_named_is_taken(tmp_path: Path) -> None:
    """INSULA_CACHE before everything else, and relative to the current directory."""
    home = {"HOME": str(tmp_path)}
    assert cache_folder({"INSULA_CACHE": "/one", "XDG_CACHE_HOME": "/two", **home}, INSTEAD) == Path("/one")
    assert cache_folder({"INSULA_CACHE": "one", **home}, INSTEAD) == Path.cwd() / "one"
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path / "two"), **home}, INSTEAD) == tmp_path / "two" / "insula"
    assert cache_folder({"XDG_CACHE_HOME": "relative", **home}, INSTEAD) == tmp_path / ".cache" / "insula"
    assert cache_folder(home, INSTEAD) == tmp_path / ".cache" / "insula"


@pytest.mark.parametrize("home", ["/", "/no/such/home", "/dev/null"])
def test_without_a_home_it_is_elsewhere(home: str) -> None:
    assert cache_folder({"HOME": home}, INSTEAD) == INSTEAD
    assert home_of({"HOME": home}) is None


@pytest.mark.parametrize("home", [{}, {"HOME": ""}])
def test_a_user_without_home_and_entry_has_none(monkeypatch: pytest.MonkeyPatch, home: dict[str, str]) -> None:
    """Else HOME would be what the password file says."""
    assert home_of(home) == Path(pwd.getpwuid(os.getuid()).pw_dir)

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert home_of(home) is None
    assert cache_folder(home, INSTEAD) == INSTEAD


def test_a_home_that_cannot_be_written_to_holds_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can write everywhere, so the answer is given here."""

    def refuse(path: Path, mode: int) -> bool:
        return not path.is_relative_to(tmp_path)

    monkeypatch.setattr(os, "access", refuse)
    for named in ({"HOME": str(tmp_path)}, {"HOME": "/", "XDG_CACHE_HOME": str(tmp_path / "cache")}):
        assert cache_folder(named, INSTEAD) == INSTEAD
    assert home_of({"HOME": str(tmp_path)}) == tmp_path
