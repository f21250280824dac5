"""One version of the API on this worker: installs it, starts it, and keeps it running until it is retired."""

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
from insula_worker.runners.pool import LEAVE_S, RunnerPool
from insula_worker.runners.process import RunnerLaunch
from insula_worker.runners.runner import STOPPING
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings, remove

log = logging.getLogger(__name__)

VERSION_CHARACTERS: Final = 16
"""Number of characters of the version with which the name of a release's folder begins."""
REASON_CHARS_MAX: Final = 16 * 1024
_releases: Final = itertools.count()


def remove_leftovers(scratch: Path) -> None:
    """Remove the folders that a killed worker left in `scratch`. Call it before the first release is made."""
    for folder in scratch.glob("[0-9a-f]" * VERSION_CHARACTERS + ".*"):
        remove(folder)


class Release:
    """Owns the files and the runners of a version on this worker. Calls `changed` whenever its state changes."""

    def __init__(
        self,
        registration: Registration,
        target: Target,
        settings: Settings,
        views: ViewSettings,
        changed: Callable[[], None],
        observers: Observers,
    ) -> None:
        """Install and start the version in a task. With `target.in_place`, start it only after a call of `start`."""
        self.number: Final = next(_releases)
        self.target: Final = target
        self.role = Role.CANDIDATE
        self.pool: Final = RunnerPool(
            self._enter, settings.start_timeout.total_seconds(), observers, Neighbours(settings.hosts_file)
        )
        self.phase = Phase.INSTALLING
        self.reason = ""
        self._registration = registration
        self._settings = settings
        self._views = views
        self._launch: RunnerLaunch | None = None
        # One folder per release: the same version may be started again while its old release still finishes.
        self._folder = settings.scratch / f"{target.version[:VERSION_CHARACTERS]}.{self.number}"
        self._changed = changed
        self._may_start = asyncio.Event()
        if not target.in_place:
            self._may_start.set()
        self._keeping = asyncio.create_task(self._keep(), name=f"release {target.version}")

    @property
    def waits(self) -> bool:
        """Whether the release is installed and waits for `start`."""
        return self._launch is not None and not self._may_start.is_set()

    def observe(self) -> Observed:
        """Return the current state of the release, which is ready once all its runners are ready."""
        return Observed(self.number, self.target, self.role, (self.phase,), self.waits)

    def start(self) -> None:
        """Start a release that waits, see `waits`."""
        self.phase, self.reason = Phase.STARTING, ""  # an earlier failed installation is not a failure in place
        self._may_start.set()

    def retire(self) -> None:
        """Mark the release as draining. Its running workloads continue until `end`."""
        self._enter(Phase.DRAINING, "")

    async def end(self, leave_s: float = LEAVE_S, because: str = STOPPING) -> None:
        """Stop the runners and remove the files. Running workloads return to the queue; `because` is the logged reason.

        An idle handler process may take `leave_s` seconds to exit, LEAVE_S at most.
        """
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        await self.pool.stop(min(leave_s, LEAVE_S), because)
        await uninstall(self._folder, self._launch)

    async def _keep(self) -> None:
        self._launch = await self._install()
        if self.waits:
            self._changed()
            await self._may_start.wait()
        while True:
            try:
                await self.pool.keep(self._launch)
            except Exception as error:
                log.exception(
                    "unexpected error in the worker: the handlers start again, and their workloads run again",
                    extra={"version": self.target.version},
                )
                await self.pool.stop(0, "the worker failed")
                self._enter(Phase.FAILING, f"the worker failed with {error!r}")
            await asyncio.sleep(pause_s(1))

    async def _install(self) -> RunnerLaunch:
        """Install the version. Retry with backoff until it succeeds."""
        failures = 0
        while True:
            try:
                return await install(self._registration, self._folder, self._settings, self._views, self._tell)
            except (InsulaError, OSError) as error:
                log.warning(
                    "cannot install the version, retrying", extra={"version": self.target.version, "reason": str(error)}
                )
                self._enter(Phase.FAILING, str(error))
            failures += 1
            await asyncio.sleep(pause_s(failures))

    def _tell(self, line: str) -> None:
        """Report `line` as the progress of the installation. During a retry, keep the reason of the last failure."""
        if self.phase is Phase.INSTALLING:
            self.reason = line
            self._changed()

    def _enter(self, phase: Phase, reason: str) -> None:
        # FAILING stays until the handler is ready: during a retry, users need the reason of the last failure.
        if self.phase is Phase.FAILING and phase is Phase.STARTING:
            return
        if self.phase is Phase.DRAINING:
            return
        self.phase, self.reason = phase, reason[-REASON_CHARS_MAX:]
        log.info(
            "version changed its phase", extra={"version": self.target.version, "phase": phase, "reason": self.reason}
        )
        self._changed()
