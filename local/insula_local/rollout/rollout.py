"""Deploys APIs and follows every one that is registered until it is ready."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from insula.errors import ProjectInvalid
from insula.phase import ApiState, Phase
from insula.project import Project, read_project
from insula.project.consent import Confirmations, scripts
from insula.rpc.admin_client import AdminClient, AdminRefused, AdminUnavailable
from insula.v1.api_service_pb2 import Api
from insula.v1.worker_service_pb2 import Worker
from insula_local.api import LocalApi

log = logging.getLogger(__name__)

RETRY_S: Final = 0.05
LOOK_EVERY_S: Final = 0.1
LOOK_AGAIN_EVERY_S: Final = 1.0
"""The pause after each API has been ready or failing once. Its worker retries a failing one by itself."""

_CHANNEL: Final = (
    # gRPC waits a second and more after a refused connection; what we wait for starts in less.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Audience(Protocol):
    """Receives each change of an API's state."""

    def api_deployed(self, api: LocalApi) -> None:
        """Its version is registered; its worker may start, unless it runs already."""

    def api_slow(self, api: LocalApi) -> None:
        """Its worker is in its phase for more than a moment; called at each look until it is in the next one."""

    def api_settled(self, api: LocalApi) -> None:
        """It is ready, or failing for a reason."""


class Rollout:
    """Deploys and follows over one channel to submit's admin address. Calls block threads, never the event loop."""

    def __init__(
        self,
        admin: str,
        public_url: str,
        audience: Audience,
        *,
        confirmations: Confirmations | None = None,
        all_apis: bool = True,
    ) -> None:
        """Follow `all_apis` that are registered, or only what is deployed here.

        `confirmations`, where the user is asked: a dependencies.sh that nobody confirmed keeps its project back.
        """
        self.apis: Final[dict[str, LocalApi]] = {}
        self._public_url = public_url
        self._audience = audience
        self._confirmations = confirmations
        self._all_apis = all_apis
        self._client = AdminClient.at(admin, options=_CHANNEL)
        self._workers: Final[dict[str, AdminClient]] = {}
        self._news = asyncio.Event()

    def expect(self, projects: Iterable[Project]) -> None:
        """Know the APIs of these projects, which are to be deployed."""
        for project in projects:
            name, endpoint = project.spec.name, project.spec.networking.endpoint
            self.apis[name] = LocalApi(name, self._public_url + endpoint, project.root)

    async def deploy_all(self, projects: Iterable[Project]) -> None:
        """Deploy these APIs one after the other; a refused one is reported as failing."""
        for project in projects:
            try:
                await self.deploy(project.config_path, project.spec.name)
            except (ProjectInvalid, AdminRefused) as error:
                self.settle(self.apis[project.spec.name], ApiState.FAILING, str(error))

    async def follow(self) -> None:
        """Tell every change of state until cancelled. Once all are ready it waits for the next deployment."""
        while True:
            self._news.clear()
            pause_s = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._news.wait()

    def close(self) -> None:
        """End every call that is under way."""
        for client in (self._client, *self._workers.values()):
            client.close()

    async def deploy(self, configuration: Path, name: str | None = None) -> None:
        """Deploy one API of a project as it is now, or all of them, as soon as submit answers.

        Raises ProjectInvalid or AdminRefused.
        """
        try:
            found = await asyncio.to_thread(self._read, configuration, name)
        except OSError as error:  # a file that goes as it is read
            raise ProjectInvalid(f"{error.filename or configuration}: cannot be read: {error.strerror}") from error
        for project, archive in found:
            api = await self._deploy(project, archive)
            self.deployed(api.name, api.version, api.endpoint)

    def _read(self, configuration: Path, name: str | None) -> list[tuple[Project, bytes]]:
        projects = [each for each in read_project(configuration) if name in (None, each.spec.name)]
        if not projects:
            raise ProjectInvalid(f"{configuration}: the API {name} is no longer in this file")
        for script in scripts([configuration]):
            if self._confirmations is not None and not self._confirmations.hold(script):
                raise ProjectInvalid(f"{script.path} has changed; start `insula up` again to read and confirm it")
        return [(project, project.bundle()) for project in projects]

    async def _deploy(self, project: Project, archive: bytes) -> Api:
        while True:
            try:
                return await asyncio.to_thread(self._client.deploy, project.spec, archive)
            except AdminUnavailable as error:
                log.debug("api not deployed yet", extra={"api": project.spec.name, "error": str(error)})
                await asyncio.sleep(RETRY_S)

    def deployed(self, name: str, version: str, endpoint: str) -> None:
        """Take up a version that was deployed, here or by `insula deploy`, and follow it."""
        self._take_up(name, version, endpoint)
        self._news.set()

    def _take_up(self, name: str, version: str, endpoint: str) -> LocalApi:
        api = self.apis.setdefault(name, LocalApi(name, self._public_url + endpoint))
        if api.version != version:
            api.wait_for(version)
            self._audience.api_deployed(api)
        return api

    def settle(self, api: LocalApi, state: ApiState, reason: str) -> None:
        """Tell that it is ready or failing, unless this was told already."""
        if (api.state, api.reason) != (state, reason):
            api.state, api.reason = state, reason
            self._audience.api_settled(api)

    async def _look(self) -> float | None:
        """Tell what has changed since the last look; return when to look again, None once all are ready."""
        ours = None if self._all_apis else {api.name for api in self.apis.values() if api.version}
        try:
            found = await asyncio.to_thread(self._ask, ours)
        except (AdminRefused, AdminUnavailable) as error:
            log.debug("admin service unavailable", extra={"error": str(error)})
            return LOOK_EVERY_S
        if self._news.is_set():  # of what was deployed meanwhile the answer may not know
            return None
        names = {registered.name for registered, _ in found}
        for api in self.apis.values():
            if api.name not in names:
                api.version = ""  # it was deleted
        states = {self._judge(registered, workers) for registered, workers in found}
        if states <= {ApiState.READY}:
            return None
        return LOOK_EVERY_S if ApiState.PENDING in states else LOOK_AGAIN_EVERY_S

    def _ask(self, ours: Set[str] | None) -> list[tuple[Api, list[Worker]]]:
        """Return each API of `ours`, or of all, with what its workers say of themselves; none if one does not answer.

        The registry decides, but it remembers workers of a stack that was killed, so they are asked too.
        """
        return [(api, self._describe_all(api)) for api in self._client.apis() if ours is None or api.name in ours]

    def _describe_all(self, api: Api) -> list[Worker]:
        try:
            return [release for worker in api.workers for release in self._describe(worker.address)]
        except (AdminRefused, AdminUnavailable) as error:
            log.debug("worker unavailable", extra={"api": api.name, "error": str(error)})
            return []

    def _describe(self, address: str) -> Iterable[Worker]:
        if address not in self._workers:
            self._workers[address] = AdminClient.at(address, options=_CHANNEL)
        return self._workers[address].releases()

    def _judge(self, registered: Api, workers: Iterable[Worker]) -> ApiState:
        """Tell what has changed of one API; the state that was told last."""
        api = self._take_up(registered.name, registered.version, registered.endpoint)
        worker = next((worker for worker in workers if worker.version == api.version), Worker())
        if worker.phase == registered.state:
            self.settle(api, ApiState(registered.state), registered.reason)
            return api.state
        progress = worker.reason if worker.phase == Phase.INSTALLING else ""
        if api.state == ApiState.PENDING and api.lingers(worker.phase, progress, time.monotonic()):
            self._audience.api_slow(api)
        return api.state
