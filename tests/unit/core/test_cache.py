"""The cache folder, for users with and without a home directory."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from insula.cache import cache_folder, home_of

INSTEAD = Path("/data/cache")


def test_insula_cache_comes_before_xdg_cache_home_and_home(tmp_path: Path) -> None:
    """INSULA_CACHE may be relative to the current directory. A relative XDG_CACHE_HOME is ignored."""
    home = {"HOME": str(tmp_path)}
    assert cache_folder({"INSULA_CACHE": "/one", "XDG_CACHE_HOME": "/two", **home}, INSTEAD) == Path("/one")
    assert cache_folder({"INSULA_CACHE": "one", **home}, INSTEAD) == Path.cwd() / "one"
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path / "two"), **home}, INSTEAD) == tmp_path / "two" / "insula"
    assert cache_folder({"XDG_CACHE_HOME": "relative", **home}, INSTEAD) == tmp_path / ".cache" / "insula"
    assert cache_folder(home, INSTEAD) == tmp_path / ".cache" / "insula"


@pytest.mark.parametrize("home", ["/", "/no/such/home", "/dev/null"])
def test_a_user_without_a_home_has_another_cache(home: str) -> None:
    assert cache_folder({"HOME": home}, INSTEAD) == INSTEAD
    assert home_of({"HOME": home}) is None


@pytest.mark.parametrize("home", [{}, {"HOME": ""}])
def test_a_user_without_home_and_password_entry_has_no_home(
    monkeypatch: pytest.MonkeyPatch, home: dict[str, str]
) -> None:
    """Without HOME, the home directory is read from the password file."""
    assert home_of(home) == Path(pwd.getpwuid(os.getuid()).pw_dir)

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert home_of(home) is None
    assert cache_folder(home, INSTEAD) == INSTEAD


def test_a_home_that_is_not_writable_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test replaces os.access, because root can write everywhere."""

    def refuse(path: Path, mode: int) -> bool:
        return not path.is_relative_to(tmp_path)

    monkeypatch.setattr(os, "access", refuse)
    for named in ({"HOME": str(tmp_path)}, {"HOME": "/", "XDG_CACHE_HOME": str(tmp_path / "cache")}):
        assert cache_folder(named, INSTEAD) == INSTEAD
    assert home_of({"HOME": str(tmp_path)}) == tmp_path
