"""One worker from its start to its drain: installs a version, keeps its runner, claims, reports."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from redis.asyncio import Redis

from insula.errors import ApiNotFound, InsulaError, StoreUnavailable
from insula.ledger import Claimant, WorkloadLedger
from insula.objects import ObjectStore
from insula.registry import REPORT_S, Registration, Registry
from insula.server import Server
from insula.v1 import worker_service_pb2
from insula_worker.attempts import Attempts
from insula_worker.claiming import Claiming
from insula_worker.installation import install
from insula_worker.phase import Phase
from insula_worker.runner_process import RunnerLaunch
from insula_worker.runner_slot import RunnerSlot, restart_delay_s
from insula_worker.settings import Settings

log = logging.getLogger(__name__)

REASON_CHARS_MAX: Final = 16 * 1024


class Worker:
    """Owns the phase, and tells the registry and the health service of it."""

    def __init__(
        self, settings: Settings, redis: Redis, blocking_redis: Redis, objects: ObjectStore, server: Server
    ) -> None:
        self._settings = settings
        self._registry = Registry(redis)
        self._ledger = WorkloadLedger(redis, settings.stores.policy)
        self._blocking_redis = blocking_redis
        self._objects = objects
        self._server = server
        self._slot = RunnerSlot(self._enter, settings.start_timeout.total_seconds())
        self._claiming: Claiming | None = None
        self._version = ""
        self._phase = Phase.INSTALLING
        self._reason = ""
        self._promoted = False

    def describe(self) -> worker_service_pb2.Worker:
        """The worker as it stands."""
        return worker_service_pb2.Worker(
            name=self._settings.worker,
            api=self._settings.api,
            version=self._version,
            phase=self._phase,
            reason=self._reason,
            address=self._settings.listen,
            running=self._claiming.running if self._claiming else 0,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then drain within the grace period."""
        reporting = asyncio.create_task(self._report_for_ever())
        working = asyncio.create_task(self._work())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        await self._enter(Phase.DRAINING, "")
        working.cancel()
        await asyncio.wait({working})
        reporting.cancel()
        await self._withdraw()

    async def _work(self) -> None:
        launch = await self._install()
        claimant = Claimant(self._settings.worker, self._version, self._settings.listen)
        attempts = Attempts(self._ledger, self._objects, self._slot)
        self._claiming = Claiming(
            self._ledger, self._blocking_redis, self._settings.api, claimant, attempts, self._slot
        )
        renewing = asyncio.create_task(self._claiming.renew_for_ever())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._slot.keep(launch))
                group.create_task(self._claiming.claim_for_ever())
        finally:  # cancelled: leases are renewed until the last attempt has ended
            await self._claiming.drain(self._settings.grace.total_seconds())
            renewing.cancel()

    async def _install(self) -> RunnerLaunch:
        """Install the wanted version, trying again with back-off, and with what is wanted then."""
        failures = 0
        while True:
            await self._enter(Phase.INSTALLING, "")
            try:
                registration = await self._registration()
                self._version = registration.version
                return await install(registration, self._settings, self._objects)
            except InsulaError as error:
                log.warning("installation failed", extra={"reason": str(error)})
                await self._enter(Phase.FAILING, str(error))
            failures += 1
            await asyncio.sleep(max(1.0, restart_delay_s(failures)))

    async def _registration(self) -> Registration:
        apis = await self._registry.all()
        if self._settings.api not in apis:
            raise ApiNotFound(self._settings.api)
        return apis[self._settings.api]

    async def _enter(self, phase: Phase, reason: str) -> None:
        # A failure is shown until something is ready: while it is tried again, its reason is what a user needs.
        if self._phase is Phase.FAILING and phase in (Phase.INSTALLING, Phase.STARTING):
            return
        self._phase, self._reason = phase, reason[-REASON_CHARS_MAX:]
        log.info("phase", extra={"phase": phase, "reason": self._reason})
        await self._server.set_serving(phase is Phase.READY)
        await self._report()

    async def _report_for_ever(self) -> None:
        while True:
            await self._report()
            await asyncio.sleep(REPORT_S)

    async def _report(self) -> None:
        try:
            await self._registry.report(self.describe())
            if self._phase is Phase.READY and not self._promoted:
                await self._registry.promote(self._settings.api, self._version)
                self._promoted = True
        except (StoreUnavailable, ApiNotFound) as error:
            log.warning("report not delivered", extra={"error": str(error)})

    async def _withdraw(self) -> None:
        try:
            await self._registry.withdraw(self._settings.api, self._settings.worker)
        except StoreUnavailable as error:
            log.warning("still listed for a while", extra={"error": str(error)})
