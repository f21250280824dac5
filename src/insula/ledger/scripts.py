"""The ledger's Lua scripts: one file per step of a workload's life, each behind one method of `WorkloadLedger`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files


@dataclass(frozen=True)
class Script:
    """The text of a Lua script, and its name in Redis."""

    text: str

    @cached_property
    def sha(self) -> str:
        """The script's SHA-1, for EVALSHA."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def load(name: str) -> Script:
    """Read `name`.lua and insert the shared library after its first line, which has the script's flags.

    The rest becomes a function. What the library has collected meanwhile is written after it, also if it fails: Redis
    undoes nothing.
    """
    folder = files("insula.ledger") / "scripts"
    flags, body = (folder / f"{name}.lua").read_text().split("\n", 1)
    library = (folder / "library.lua").read_text()
    run = ("local function run()", body, "end", "local done, answer = pcall(run)", "write_collected()")
    end = ("if not done then error(answer, 0) end", "return answer")
    return Script("\n".join((flags, library, *run, *end)))
