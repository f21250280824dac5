"""One worker, from start to drain: reads the registry, serves the newest working version, reports its status."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import lru_cache
from typing import Final

from redis.asyncio import Redis

from insula.errors import ApiNotFound, ProjectInvalid, StoreFull, StoreUnavailable
from insula.ledger import Claimant, WorkloadLedger
from insula.phase import Phase
from insula.printing import note
from insula.project.configuration.spec import ApiSpec
from insula.registry import REPORT_S, Registration, Registry
from insula.rpc.server import Server
from insula.stores.objects import ObjectStore
from insula.stores.redis_client import answers, connect
from insula.v1 import worker_service_pb2
from insula_worker.attempts.claiming import Claiming
from insula_worker.attempts.pulse import PollLoopStuck, until_stuck
from insula_worker.decision import (
    Absent,
    Action,
    Deployed,
    End,
    FallBack,
    GiveUp,
    MakeRoom,
    Promote,
    Retire,
    Role,
    Start,
    StartInPlace,
    State,
    Target,
    decide,
)
from insula_worker.description import describe
from insula_worker.release import Release
from insula_worker.runners.observers import Observers
from insula_worker.runners.runner import STOPPING
from insula_worker.settings import Settings
from insula_worker.view import ViewSettings

log = logging.getLogger(__name__)

ENDING_S: Final = 15.0
"""A worker whose poll loop is stuck exits at the latest this many seconds after the grace period."""
FOLLOW_S: Final = 1.0
"""Maximum seconds between two reads of the wanted version from the registry."""


class Worker:
    """Owns the releases of one API on this worker, and performs the actions that `decide` returns."""

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
        self._registry = Registry(redis, migrates=False)
        ledger = WorkloadLedger(redis, settings.stores.policy)
        self._observers = observers
        self._server = server
        self._claiming = Claiming(ledger, objects, blocking_redis, settings.api, settings.worker, observers)
        self._registration: Registration | None = None
        self._wanted: Deployed | Absent = Absent.NOT_DEPLOYED
        self._releases: dict[int, Release] = {}
        self._given_up = ""
        self._ending: dict[Release, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._redis_answers = False

    def describe(self) -> list[worker_service_pb2.Worker]:
        """Return the worker's current state, one message for each release. The serving release comes first."""
        return describe(
            self._releases.values(),
            self._wanted,
            self._settings,
            lambda release: self._claiming.running_in(release.pool),
        )

    @property
    def _serving(self) -> Release | None:
        """The release that workloads are claimed for. None unless its runners are ready."""
        found = (release for release in self._releases.values() if release.role is Role.SERVING)
        return next((release for release in found if release.phase is Phase.READY), None)

    async def run(self, stopping: asyncio.Event) -> None:
        """Claim and run workloads until `stopping` is set, then drain within the grace period (invariant I7)."""
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._report_for_ever()), group.create_task(self._claiming.renew_for_ever())]
            try:
                await self._work(stopping)
            finally:
                await self._drain()  # leases are renewed until the last attempt has ended
                for task in beside:
                    task.cancel()
                await self._withdraw()

    async def _work(self, stopping: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._claiming.claim_for_ever())
                group.create_task(self._reconcile_for_ever(group))
                group.create_task(self._watch_pulse())
                group.create_task(_stop(stopping))
        except* _Stopped:
            pass

    async def _watch_pulse(self) -> None:
        """Report the worker as not alive once the poll loop is stuck (invariant I12). Raises PollLoopStuck then."""
        stores = self._settings.stores

        async def answers_anew() -> bool:
            async with connect(stores.redis_url) as redis:
                return await answers(redis)

        reason = await until_stuck(self._claiming.pulse, stores.policy.lease.total_seconds(), answers_anew)
        log.error("worker is stuck and will exit with code 1", extra={"error": reason})
        await self._server.set_alive(False)
        end_s = self._settings.grace.total_seconds() + ENDING_S
        asyncio.get_running_loop().call_later(end_s, _end_now, reason)
        raise PollLoopStuck(reason)

    async def _drain(self) -> None:
        releases = list(self._releases.values())
        for release in releases:
            if release.role is not Role.FAILED:
                release.retire()
        await self._server.set_serving(False)
        grace_s, drained_at = self._settings.grace.total_seconds(), asyncio.get_running_loop().time()
        await self._claiming.finish(grace_s)
        left_s = max(0.0, drained_at + grace_s - asyncio.get_running_loop().time())
        await asyncio.gather(*(release.end(left_s) for release in releases))
        await self._claiming.settle()

    async def _reconcile_for_ever(self, group: asyncio.TaskGroup) -> None:
        """Compare the releases with the registry and perform the decided actions: at each change and every FOLLOW_S."""
        changed = True
        while True:
            actions = decide(await self._observe())
            for action in actions:
                await self._act(action, group)
            await self._server.set_serving(self._serving is not None and self._redis_answers)
            if changed or actions:
                self._claiming.wake()
                self._news.set()
            changed = await _happened(self._changed, FOLLOW_S)

    async def _observe(self) -> State:
        wanted: Deployed | Absent = Absent.UNAVAILABLE
        try:
            self._registration = await self._live_registration()
            wanted = self._wanted = _wanted(self._registration)
            self._redis_answers = True
        except StoreUnavailable as error:
            self._redis_answers = False
            log.warning("cannot read the registration of the API from Redis, retrying", extra={"error": str(error)})
        return State(wanted, tuple(release.observe() for release in self._releases.values()), self._given_up)

    async def _live_registration(self) -> Registration | None:
        """Return the registration of the API, or None if it is not deployed or was deleted."""
        registration = await self._registry.find(self._settings.api)
        return registration if registration is not None and registration.live else None

    async def _act(self, action: Action, group: asyncio.TaskGroup) -> None:
        match action:
            case Start(target):
                self._start(target)
            case StartInPlace(number):
                self._releases[number].role = Role.IN_PLACE
                self._releases[number].start()
            case Promote(number):
                self._promote(self._releases[number])
            case Retire(number):
                self._retire(self._releases[number], group, Role.RETIRING, None, STOPPING)
            case MakeRoom(number, successor):
                because, grace_s = f"version {successor[:12]} replaces this one", self._settings.grace.total_seconds()
                self._retire(self._releases[number], group, Role.LEAVING, grace_s, because)
            case End(number):
                if self._releases[number].role is not Role.FAILED:  # a failed release has ended already
                    await self._releases[number].end()
                del self._releases[number]
            case FallBack(number):
                self._releases[number].role = Role.FAILED
                await self._releases[number].end()
            case GiveUp(version):
                self._given_up = version

    def _start(self, target: Target) -> None:
        registration = self._registration
        assert registration is not None, "a release is started only for a deployed API"
        if target.version != registration.version:
            registration = registration.active
            assert registration is not None, "an older version is started only if it is the active one"
        release = Release(registration, target, self._settings, self._views, self._changed.set, self._observers)
        self._releases[release.number] = release

    def _promote(self, release: Release) -> None:
        release.role = Role.SERVING
        claimant = Claimant(self._settings.worker, release.target.version, self._settings.advertised)
        self._claiming.serve(release.pool, claimant)

    def _retire(
        self, release: Release, group: asyncio.TaskGroup, role: Role, grace_s: float | None, because: str
    ) -> None:
        """Let a release finish its running workloads for `grace_s` seconds at most, then end it. None sets no limit."""
        if release.role is Role.SERVING:
            self._claiming.serve(None)
        release.role = role
        release.retire()
        if release in self._ending:
            self._ending[release].cancel()
        self._ending[release] = group.create_task(self._end_when_idle(release, grace_s, because))

    async def _end_when_idle(self, release: Release, grace_s: float | None, because: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._claiming.idle_in(release.pool)
        await release.end(because=because)
        del self._releases[release.number], self._ending[release]
        self._changed.set()

    async def _report_for_ever(self) -> None:
        while True:
            await self._report()
            await _happened(self._news, REPORT_S)

    async def _report(self) -> None:
        serving, releases = self._serving, self.describe()
        try:
            if serving is not None:
                await self._registry.promote(self._settings.api, serving.target.version)
            await self._registry.report(self._settings.api, self._settings.worker, releases)
        except (StoreUnavailable, StoreFull, ApiNotFound) as error:
            log.warning("cannot report the state of this worker to Redis, retrying", extra={"error": str(error)})

    async def _withdraw(self) -> None:
        try:
            await self._registry.report(self._settings.api, self._settings.worker, [])
        except StoreUnavailable as error:
            log.warning(
                "could not deregister worker; its report in Redis expires by itself", extra={"error": str(error)}
            )


class _Stopped(Exception):
    """Raised to cancel all tasks of a task group."""


def _end_now(reason: str) -> None:
    """Exit with code 1, because a stuck task may also block the drain. Print the unfinished tasks and `reason`."""
    try:
        for task in asyncio.all_tasks():
            note(f"task did not end: {task!r}")
        note(f"worker: {reason}")
    finally:
        os._exit(1)


async def _stop(stopping: asyncio.Event) -> None:
    await stopping.wait()
    raise _Stopped


def _wanted(registration: Registration | None) -> Deployed | Absent:
    if registration is None:
        return Absent.NOT_DEPLOYED
    return Deployed(_target(registration), _target(registration.active) if registration.active is not None else None)


def _target(registration: Registration) -> Target:
    return Target(registration.version, registration.generation, _in_place(registration.spec))


@lru_cache(maxsize=2)
def _in_place(spec: str) -> bool:
    """Return whether the configuration `spec` has `max_surge: 0`: the old version ends before the new one starts."""
    try:
        return ApiSpec.from_json(spec.encode()).update_strategy.in_place
    except ProjectInvalid:  # a later version of Insula registered it; its installation fails with the reason
        return False


async def _happened(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for the event, at most `timeout_s`. Return whether it was set, and clear it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    happened = event.is_set()
    event.clear()
    return happened
