"""One worker from its start to its drain: follows the registry, serves the newest version that works, reports."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from redis.asyncio import Redis

from insula.errors import ApiNotFound, StoreFull, StoreUnavailable
from insula.ledger import Claimant, WorkloadLedger
from insula.objects import ObjectStore
from insula.phase import Phase
from insula.project.spec import ApiSpec
from insula.registry import REPORT_S, Registration, Registry
from insula.server import Server
from insula.v1 import worker_service_pb2
from insula_worker.attempts.attempt import Attempts
from insula_worker.attempts.claiming import Claiming, Serving
from insula_worker.attempts.payloads import Patience
from insula_worker.release import Release
from insula_worker.runners.observers import Observers
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings

log = logging.getLogger(__name__)

FOLLOW_S: Final = 1.0
"""How often the registry is asked for the wanted version."""


class Worker:
    """Owns the releases: the one that serves, the one that is to follow it, and those that finish what they began.

    A new version serves once its handler is ready, and the one before it then ends what it runs: no workload is lost
    or run twice by a deployment, and a version that fails never replaces one that works, restarts included.

    With `max_surge: 0` two never run at once: when the new one is installed, the one before ends, within the grace
    period, and is started again if the new one fails. That one is then not tried again until another deployment or a
    refresh.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        blocking_redis: Redis,
        objects: ObjectStore,
        server: Server,
        observers: Observers,
        views: ViewSettings,
    ) -> None:
        self._settings = settings
        self._views = views
        self._registry = Registry(redis)
        self._ledger = WorkloadLedger(redis, settings.stores.policy)
        self._objects = objects
        self._observers = observers
        self._server = server
        self._claiming = Claiming(self._ledger, blocking_redis, settings.api, settings.worker)
        self._serving: Release | None = None
        self._candidate: Release | None = None
        self._given_up = ""  # an active version that does not start any more
        self._in_place: Release | None = None  # a candidate for which the one before was ended
        self._falls_back = False  # whether that one is started again if this one fails
        self._failed: Release | None = None  # it failed in place, and has ended
        self._retiring: dict[Release, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def describe(self) -> list[worker_service_pb2.Worker]:
        """The worker as it stands, once for each version it holds: the one that serves, or is to, comes first."""
        releases = (self._serving, self._candidate, self._failed, *self._retiring)
        return [self._describe(release) for release in releases if release is not None]

    def _describe(self, release: Release) -> worker_service_pb2.Worker:
        phase, reason = release.phase, release.reason
        falls_back = release is self._candidate is self._in_place and self._falls_back and phase is Phase.FAILING
        if release is self._failed or falls_back:
            again = self._serving or (None if falls_back else self._candidate)
            if again is None or again.phase not in (Phase.READY, Phase.FAILING):
                phase, reason = Phase.STARTING, ""  # it is over when the one before serves again
            else:
                words = "serves again" if again.phase is Phase.READY else "was started again and fails too"
                reason = f"{reason}\nversion {again.version[:12]}, the one before, {words}"
        return worker_service_pb2.Worker(
            name=self._settings.worker,
            api=self._settings.api,
            version=release.version,
            phase=phase,
            reason=reason,
            address=self._settings.listen,
            running=self._claiming.running_in(release.slot),
            generation=release.generation,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then drain within the grace period (invariant I7)."""
        reporting = asyncio.create_task(self._report_for_ever())
        renewing = asyncio.create_task(self._claiming.renew_for_ever())
        working = asyncio.create_task(self._work())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({working, reporting, renewing, stop}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.wait({working})
        await self._drain()  # leases are renewed until the last attempt has ended
        for task in (stop, reporting, renewing):
            task.cancel()
        await self._withdraw()
        for task in (working, reporting, renewing):  # each runs for ever: one that has ended has failed
            if task.done() and not task.cancelled():
                task.result()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._claiming.claim_for_ever())
            group.create_task(self._follow_for_ever())

    async def _drain(self) -> None:
        releases = [one for one in (self._serving, self._candidate) if one is not None]
        for release in releases:
            release.retire()
        await self._server.set_serving(False)
        grace_s, drained_at = self._settings.grace.total_seconds(), asyncio.get_running_loop().time()
        await self._claiming.finish(grace_s)
        left_s = max(0.0, drained_at + grace_s - asyncio.get_running_loop().time())
        for task in self._retiring.values():
            task.cancel()
        await asyncio.gather(*(release.end(left_s) for release in (*releases, *self._retiring)))
        await self._claiming.settle()

    async def _follow_for_ever(self) -> None:
        """Make the wanted version the candidate, and the candidate the one that serves as soon as it is ready."""
        while True:
            try:
                await self._want(await self._registration())
            except StoreUnavailable as error:
                log.warning("registry does not tell", extra={"error": str(error)})
            self._promote()
            await self._wait_for_change(FOLLOW_S)

    async def _registration(self) -> Registration | None:
        """What is wanted; None if the API is not deployed, or no longer."""
        registration = (await self._registry.all()).get(self._settings.api)
        return registration if registration is not None and registration.live else None

    async def _want(self, registered: Registration | None) -> None:
        await self._fall_back(registered)
        wanted = self._first(registered) if registered is not None else None
        newest = self._candidate or self._serving
        if newest is None or wanted is None or not newest.is_for(wanted):
            await self._replace(wanted)
        if registered is not None and self._candidate is not None and self._candidate.waits:
            await self._make_room(self._candidate)
            self._in_place, self._falls_back = self._candidate, registered.active is not None
            self._candidate.start()

    async def _replace(self, wanted: Registration | None) -> None:
        """Make this version the candidate, instead of the one there is; None ends them all."""
        self._in_place, self._falls_back = None, False
        if self._candidate is not None:
            await self._candidate.end()
            self._candidate = None
        if wanted is None:
            self._claiming.serve(None)
            self._retire(None)
        elif self._serving is None or not self._serving.is_for(wanted):
            wake, in_place = self._changed.set, _in_place(wanted)
            self._candidate = Release(wanted, self._settings, self._views, wake, self._observers, waits=in_place)

    async def _make_room(self, successor: Release) -> None:
        """End every release, each after what it runs has finished within the grace period."""
        self._claiming.serve(None)
        for task in self._retiring.values():
            task.cancel()
        releases = [*filter(None, [self._serving]), *self._retiring]
        for release in releases:
            release.retire()
        idle = [asyncio.create_task(self._claiming.idle_in(release.slot)) for release in releases]
        if idle:
            await asyncio.wait(idle, timeout=self._settings.grace.total_seconds())
        for task in idle:
            task.cancel()
        because = f"version {successor.version[:12]} replaces this one"
        await asyncio.gather(*(release.end(because=because) for release in releases))
        self._serving = None
        self._retiring.clear()

    async def _fall_back(self, registered: Registration | None) -> None:
        """End a candidate that failed in place, if there is a version to start again; forget the last such one."""
        if self._failed is not None and (registered is None or not self._failed.is_for(registered)):
            self._failed = None
        candidate = self._candidate
        if registered is None or registered.active is None or candidate is None or not candidate.is_for(registered):
            return
        if candidate is self._in_place and candidate.phase is Phase.FAILING:
            await candidate.end()
            self._candidate, self._failed = None, candidate

    def _first(self, registered: Registration) -> Registration:
        """What to start now: a worker that serves nothing begins with the version that is known to work."""
        active = registered.active
        if active is not None and self._failed is not None:
            return active
        if self._candidate is not None and self._candidate is self._in_place and self._candidate.is_for(registered):
            return registered
        if self._serving is not None or active is None or active.version == self._given_up:
            return registered
        candidate = self._candidate
        if candidate is not None and candidate.is_for(active) and candidate.phase is Phase.FAILING:
            self._given_up = active.version
            return registered
        return active

    def _promote(self) -> None:
        candidate = self._candidate
        if candidate is None or candidate.phase is not Phase.READY:
            return
        self._candidate = None
        claimant = Claimant(self._settings.worker, candidate.version, self._settings.listen)
        ended, changed = self._observers.ended, self._claiming.wake
        attempts = Attempts(self._ledger, self._objects, candidate.slot, ended, changed, Patience())
        self._claiming.serve(Serving(claimant, attempts, candidate.slot))
        self._retire(candidate)

    def _retire(self, successor: Release | None) -> None:
        """Let what served finish what it began, and `successor` stand in its place."""
        before, self._serving = self._serving, successor
        if before is not None:
            before.retire()
            self._retiring[before] = asyncio.create_task(self._end_when_idle(before))

    async def _end_when_idle(self, release: Release) -> None:
        await self._claiming.idle_in(release.slot)
        await release.end()
        del self._retiring[release]
        self._changed.set()

    async def _wait_for_change(self, timeout_s: float) -> None:
        """Wait for a change of phase and make it known, or for the time to pass."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()
        self._promote()
        self._claiming.wake()
        serving = self._serving
        await self._server.set_serving(serving is not None and serving.phase is Phase.READY)
        await self._report()

    async def _report_for_ever(self) -> None:
        while True:
            await self._report()
            await asyncio.sleep(REPORT_S)

    async def _report(self) -> None:
        self._promote()  # what is reported as ready serves
        serving, releases = self._serving, self.describe()
        try:
            if serving is not None and serving.phase is Phase.READY:
                await self._registry.promote(self._settings.api, serving.version)
            await self._registry.report(self._settings.api, self._settings.worker, releases)
        except (StoreUnavailable, StoreFull, ApiNotFound) as error:
            log.warning("report not delivered", extra={"error": str(error)})

    async def _withdraw(self) -> None:
        try:
            await self._registry.report(self._settings.api, self._settings.worker, [])
        except StoreUnavailable as error:
            log.warning("still listed for a while", extra={"error": str(error)})


def _in_place(registration: Registration) -> bool:
    """Whether the version before has to end before this one starts."""
    return ApiSpec.from_json(registration.spec.encode()).update_strategy.in_place
