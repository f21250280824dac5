"""The ledger's Lua scripts: one file for each operation of WorkloadLedger, Retention or InFlightMeter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files


@dataclass(frozen=True)
class Script:
    """The text of a Lua script, and its SHA-1, which names it in Redis."""

    text: str

    @cached_property
    def sha(self) -> str:
        """The script's SHA-1, for EVALSHA."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def load(name: str) -> Script:
    """Read `name`.lua and insert the shared library after its first line, which has the script's flags.

    The rest of the script becomes a function. When it has returned or failed, the changes that the library collected
    are written, because Redis does not undo what a failed script has already written.
    """
    folder = files("insula.ledger") / "scripts"
    flags, body = (folder / f"{name}.lua").read_text().split("\n", 1)
    library = (folder / "library.lua").read_text()
    run = ("local function run()", body, "end", "local done, answer = pcall(run)", "write_collected()")
    end = ("if not done then error(answer, 0) end", "return answer")
    return Script("\n".join((flags, library, *run, *end)))
