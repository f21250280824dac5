"""An API of the stack: its endpoint, and the state last shown to the user."""

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

    `version` was deployed last; it is empty before the first. `since` is when the wait for it began. `state` and
    `reason` are those last shown to the user. `phase` is the worker's phase until then, `phase_since` its start, and
    `progress` the last line of pip, conda or dependencies.sh.
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
        """Wait for a newly deployed version. Its state is not known yet."""
        self.version, self.state, self.reason, self.phase = version, ApiState.PENDING, "", ""

    def lingers(self, phase: str, progress: str, now: float) -> bool:
        """Note the worker's phase and progress. Returns True once the phase has lasted for A_MOMENT_S."""
        if phase != self.phase:
            self.phase, self.phase_since = phase, now
        self.progress = progress
        return bool(phase) and now - self.phase_since >= A_MOMENT_S
