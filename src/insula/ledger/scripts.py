"""The ledger's Lua scripts: one file per step of a workload's life, each behind one method of `WorkloadLedger`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Script:
    """A Lua script as Redis knows it."""

    text: str
    sha: str


def load(name: str) -> Script:
    """Read `name`.lua and put the shared library after its first line, which has to stay the script's flags."""
    folder = files("insula.ledger") / "scripts"
    flags, body = (folder / f"{name}.lua").read_text().split("\n", 1)
    text = "\n".join((flags, (folder / "library.lua").read_text(), body))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
