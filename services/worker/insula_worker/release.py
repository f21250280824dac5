"""One version of the API on this worker: installed, started, kept running until it is retired."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from insula.errors import InsulaError
from insula.phase import Phase
from insula.registry import Registration
from insula_worker.backoff import pause_s
from insula_worker.decision import Observed, Role, Target
from insula_worker.installation import install, uninstall
from insula_worker.runners.neighbours import Neighbours
from insula_worker.runners.observers import Observers
from insula_worker.runners.process import RunnerLaunch
from insula_worker.runners.slot import STOPPING, RunnerSlot
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings, remove

log = logging.getLogger(__name__)

LEAVE_S: Final = 3.0
VERSION_CHARACTERS: Final = 16
"""Of a version, in the name of its folder."""
REASON_CHARS_MAX: Final = 16 * 1024
_releases: Final = itertools.count()


def remove_leftovers(scratch: Path) -> None:
    """Remove the folders of releases whose worker was killed. Call it before there are others."""
    for folder in scratch.glob("[0-9a-f]" * VERSION_CHARACTERS + ".*"):
        remove(folder)


class Release:
    """Owns the files and the runner of a version; tells `changed` of each new phase."""

    def __init__(
        self,
        registration: Registration,
        target: Target,
        settings: Settings,
        views: ViewSettings,
        changed: Callable[[], None],
        observers: Observers,
    ) -> None:
        """Install the version and start it; one that is in place starts when `start` is called."""
        self.number: Final = next(_releases)
        self.target: Final = target
        self.role = Role.CANDIDATE
        self.slot: Final = RunnerSlot(
            self._enter, settings.start_timeout.total_seconds(), observers, Neighbours(settings.hosts_file)
        )
        self.phase = Phase.INSTALLING
        self.reason = ""
        self._registration = registration
        self._settings = settings
        self._views = views
        self._launch: RunnerLaunch | None = None
        # Of its own: the same version may come again while the one before still finishes what it began.
        self._folder = settings.scratch / f"{target.version[:VERSION_CHARACTERS]}.{self.number}"
        self._changed = changed
        self._may_start = asyncio.Event()
        if not target.in_place:
            self._may_start.set()
        self._keeping = asyncio.create_task(self._keep(), name=f"release {target.version}")

    @property
    def waits(self) -> bool:
        """Whether it is installed and has to be told to start."""
        return self._launch is not None and not self._may_start.is_set()

    def observe(self) -> Observed:
        """Return the release as it stands; it has one runner."""
        return Observed(self.number, self.target, self.role, (self.phase,), self.waits)

    def start(self) -> None:
        """Start it, now that there is room."""
        self.phase, self.reason = Phase.STARTING, ""  # an installation that failed before is no failure in place
        self._may_start.set()

    def retire(self) -> None:
        """Claim nothing more for it; what runs goes on until `end`."""
        self._enter(Phase.DRAINING, "")

    async def end(self, leave_s: float = LEAVE_S, because: str = STOPPING) -> None:
        """Stop the runner, give back what it still ran, remove the files. An idle handler has `leave_s` to leave."""
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        await self.slot.stop(min(leave_s, LEAVE_S), because)
        await uninstall(self._folder, self._launch)

    async def _keep(self) -> None:
        self._launch = await self._install()
        if self.waits:
            self._changed()
            await self._may_start.wait()
        await self.slot.keep(self._launch)

    async def _install(self) -> RunnerLaunch:
        """Install, trying again with back-off."""
        failures = 0
        while True:
            try:
                return await install(self._registration, self._folder, self._settings, self._views, self._tell)
            except (InsulaError, OSError) as error:
                log.warning("installation failed", extra={"version": self.target.version, "reason": str(error)})
                self._enter(Phase.FAILING, str(error))
            failures += 1
            await asyncio.sleep(pause_s(failures))

    def _tell(self, line: str) -> None:
        """Say what the installation is at; while it is tried again, its last failure is what a user needs."""
        if self.phase is Phase.INSTALLING:
            self.reason = line
            self._changed()

    def _enter(self, phase: Phase, reason: str) -> None:
        # A failure is shown until something is ready: while it is tried again, its reason is what a user needs.
        if self.phase is Phase.FAILING and phase is Phase.STARTING:
            return
        if self.phase is Phase.DRAINING:
            return
        self.phase, self.reason = phase, reason[-REASON_CHARS_MAX:]
        log.info("phase changed", extra={"version": self.target.version, "phase": phase, "reason": self.reason})
        self._changed()
