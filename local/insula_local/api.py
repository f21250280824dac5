"""An API of the stack: where it is called, and what the user was last told of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from insula.phase import ApiState

A_MOMENT_S: Final = 1.5
"""A phase that lasts longer is shown: packages are being installed, or a model is loading."""


@dataclass
class LocalApi:
    """`project` is its directory, if it was named on the command line; times are of time.monotonic().

    `version` is the one that was deployed last, empty before the first, and `since` when the wait for it began.
    `state` and `reason` are what the user was told of it. `phase` is that of its worker until then, `phase_since`
    when it began, and `progress` the last line of pip, conda or dependencies.sh.
    """

    name: str
    url: str
    project: Path | None = None
    since: float = field(default_factory=time.monotonic)
    version: str = ""
    state: ApiState = ApiState.PENDING
    reason: str = ""
    phase: str = ""
    phase_since: float = 0
    progress: str = ""

    def wait_for(self, version: str) -> None:
        """Take up a version that was deployed: nothing is known of it yet."""
        self.version, self.state, self.reason, self.phase = version, ApiState.PENDING, "", ""

    def lingers(self, phase: str, progress: str, now: float) -> bool:
        """Note the phase of its worker and what it is at; true once it has been in this phase for a moment."""
        if phase != self.phase:
            self.phase, self.phase_since = phase, now
        self.progress = progress
        return bool(phase) and now - self.phase_since >= A_MOMENT_S
