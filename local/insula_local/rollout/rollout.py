"""Deploys APIs, and reads the state of every registered API until it is ready."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
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
"""Pause between reads if each API is ready or failing, and one is failing. Its worker retries, so it may get ready."""

_SETTLED: Final = frozenset({Phase.READY, Phase.FAILING})
_CHANNEL: Final = (
    # By default gRPC waits at least a second after a refused connection. Submit and workers start in less time.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Audience(Protocol):
    """Receives each change of an API's state."""

    def api_deployed(self, api: LocalApi) -> None:
        """A new version of the API is registered. The audience starts the API's workers unless they are running."""

    def api_slow(self, api: LocalApi) -> None:
        """The API's worker has been in its phase for A_MOMENT_S. Called at each read until the phase changes."""

    def api_settled(self, api: LocalApi) -> None:
        """The API is ready or failing."""


class Rollout:
    """Deploys APIs and reads their states over one channel to submit's admin address. Calls run in threads."""

    def __init__(
        self,
        admin: str,
        public_url: str,
        audience: Audience,
        *,
        confirmations: Confirmations | None = None,
        all_apis: bool = True,
        replicas: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`audience` receives the states of all registered APIs, or of those deployed to this stack if not `all_apis`.

        With `confirmations`, a project is deployed only if the user has confirmed the text of its dependencies.sh.
        `replicas` has the number of workers of an API, which is 1 without an entry.
        """
        self.apis: Final[dict[str, LocalApi]] = {}
        self._public_url = public_url
        self._audience = audience
        self._confirmations = confirmations
        self._all_apis = all_apis
        self._replicas = replicas
        self._client = AdminClient.at(admin, options=_CHANNEL)
        self._workers: Final[dict[str, AdminClient]] = {}
        self._news = asyncio.Event()

    def expect(self, projects: Iterable[Project]) -> None:
        """Add the APIs of these projects. They will be deployed later."""
        for project in projects:
            name, endpoint = project.spec.name, project.spec.networking.endpoint
            self.apis[name] = LocalApi(name, self._public_url + endpoint, project.root)

    async def deploy_all(self, projects: Iterable[Project]) -> None:
        """Deploy the projects one after the other. An API whose deployment is refused is reported as failing."""
        for project in projects:
            try:
                await self.deploy(project.config_path, project.spec.name)
            except (ProjectInvalid, AdminRefused) as error:
                self.settle(self.apis[project.spec.name], ApiState.FAILING, str(error))

    async def follow(self) -> None:
        """Report each change of an API's state to the audience, until cancelled. Reads nothing while all are ready."""
        while True:
            self._news.clear()
            pause_s = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._news.wait()

    def close(self) -> None:
        """Close the connections to submit and to workers. Running calls fail."""
        for client in (self._client, *self._workers.values()):
            client.close()

    async def deploy(self, configuration: Path, name: str | None = None) -> None:
        """Deploy the current files of a project, for its API `name` or for all its APIs. Wait until submit answers.

        Raises ProjectInvalid or AdminRefused.
        """
        try:
            found = await asyncio.to_thread(self._read, configuration, name)
        except OSError as error:  # a file was deleted meanwhile
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
        """Follow a version that this object or `insula deploy` has deployed, until it is ready or failing."""
        self._take_up(name, version, endpoint)
        self._news.set()

    def _take_up(self, name: str, version: str, endpoint: str) -> LocalApi:
        api = self.apis.setdefault(name, LocalApi(name, self._public_url + endpoint))
        if api.version != version:
            api.wait_for(version)
            self._audience.api_deployed(api)
        return api

    def settle(self, api: LocalApi, state: ApiState, reason: str) -> None:
        """Report to the audience that the API is ready or failing, unless this was reported already."""
        if (api.state, api.reason) != (state, reason):
            api.state, api.reason = state, reason
            self._audience.api_settled(api)

    async def _look(self) -> float | None:
        """Read all states and report changes to the audience. Return the seconds until the next read.

        None means that the next read waits for a deployment: all APIs are ready, or a deployment has just happened.
        """
        ours = None if self._all_apis else {api.name for api in self.apis.values() if api.version}
        try:
            found = await asyncio.to_thread(self._ask, ours)
        except (AdminRefused, AdminUnavailable) as error:
            log.debug("cannot read the states of the APIs from submit, retrying", extra={"error": str(error)})
            return LOOK_EVERY_S
        if self._news.is_set():  # the answer may be older than a deployment
            return None
        names = {registered.name for registered, _ in found}
        for api in self.apis.values():
            if api.name not in names:
                api.version = ""  # the API was deleted
        states = {self._judge(registered, workers) for registered, workers in found}
        if states <= {ApiState.READY}:
            return None
        return LOOK_EVERY_S if ApiState.PENDING in states else LOOK_AGAIN_EVERY_S

    def _ask(self, ours: Set[str] | None) -> list[tuple[Api, list[Worker]]]:
        """Return the APIs named in `ours`, or all if it is None, each with the current reports of its workers.

        The reports come from the workers, because those in the registry may be from a killed stack. Workers that do not
        answer are left out.
        """
        return [(api, self._describe_all(api)) for api in self._client.apis() if ours is None or api.name in ours]

    def _describe_all(self, api: Api) -> list[Worker]:
        addresses = dict.fromkeys(worker.address for worker in api.workers)
        return [release for address in addresses for release in self._describe(address)]

    def _describe(self, address: str) -> Iterable[Worker]:
        if address not in self._workers:
            self._workers[address] = AdminClient.at(address, options=_CHANNEL)
        try:
            return self._workers[address].releases()
        except (AdminRefused, AdminUnavailable) as error:
            log.debug("worker unavailable", extra={"address": address, "error": str(error)})
            return []

    def _judge(self, registered: Api, workers: Iterable[Worker]) -> ApiState:
        """Report an API's state to the audience, from its registration and its workers' reports. Return the state.

        The API is ready or failing once each of its workers is ready or failing. Until then its state does not change,
        and if a worker has been in one phase for A_MOMENT_S, the API is reported as slow.
        """
        api = self._take_up(registered.name, registered.version, registered.endpoint)
        releases = [worker for worker in workers if worker.version == api.version]
        settled = {worker.name for worker in releases if worker.phase in _SETTLED}
        if len(settled) >= self._replicas.get(api.name, 1) and registered.state in {one.phase for one in releases}:
            self.settle(api, ApiState(registered.state), registered.reason)
            return api.state
        worker = next((one for one in releases if one.name not in settled), Worker())
        progress = worker.reason if worker.phase == Phase.INSTALLING else ""
        if api.state == ApiState.PENDING and api.lingers(worker.phase, progress, time.monotonic()):
            self._audience.api_slow(api)
        return api.state
