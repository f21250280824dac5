"""An API of the stack: its endpoint, and the state last shown to the user."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from insula.phase import ApiState

A_MOMENT_S: Final = 1.5
"""A phase that lasts longer is shown to the user: for example, packages are installed, or a model is loaded."""


@dataclass
class LocalApi:
    """`project` is the project's directory if the user gave it to `insula up`, else None.

    `version` is the last deployed version, empty before the first. `since` is the time at which the wait for this
    version began. `state` and `reason` are those last shown to the user. Until the API is ready, `phase` is the
    worker's phase, `phase_since` the start of the phase, and `progress` the last line of pip, conda or dependencies.sh.
    Times are of time.monotonic().
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
        """Store a newly deployed version, and reset the state and the phase."""
        self.version, self.state, self.reason, self.phase = version, ApiState.PENDING, "", ""

    def lingers(self, phase: str, progress: str, now: float) -> bool:
        """Store the worker's phase and progress. Return whether the phase has lasted for A_MOMENT_S or longer."""
        if phase != self.phase:
            self.phase, self.phase_since = phase, now
        self.progress = progress
        return bool(phase) and now - self.phase_since >= A_MOMENT_S
