"""Deploys APIs and follows every one that is registered until it is ready."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from insula.admin import admin_channel
from insula.deploy import DeploymentRefused, deploy
from insula.errors import ProjectInvalid, StoreUnavailable
from insula.project import Project, read_project
from insula.project.consent import Confirmations, scripts
from insula.v1.api_service_pb2 import Api, ListApisRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula.v1.worker_service_pb2 import DescribeWorkerRequest, Worker
from insula.v1.worker_service_pb2_grpc import WorkerServiceStub
from insula_local.rollout.events import DEPLOYED, FAILING, PENDING, PHASE, READY, STATE, ApiTask, Event

log = logging.getLogger(__name__)

RETRY_S: Final = 0.05
LOOK_EVERY_S: Final = 0.1
LOOK_AGAIN_EVERY_S: Final = 1.0
"""Once each API has been ready or failing: what is failing is tried again by its worker, and may take its time."""
CALL_TIMEOUT_S: Final = 5
A_MOMENT_S: Final = 1.5
"""A phase that lasts longer is told: packages are being installed, or a model is loading."""

_CHANNEL: Final = (
    # gRPC waits a second and more after a refused connection; what we wait for starts in less.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)

Tell = Callable[[Event], None]


def connect(address: str) -> grpc.Channel:
    """A channel to a server on this machine that may still be starting."""
    return admin_channel(address, "", _CHANNEL)


@dataclass
class Followed:
    """An API at the version that was last deployed, and what was last said of it."""

    name: str
    version: str
    told: tuple[str, str] = (PENDING, "")
    phase: str = ""
    phase_since: float = 0
    phase_told: str = ""


class Rollout:
    """Deploys and follows over one channel to submit's admin address."""

    def __init__(
        self, channel: grpc.Channel, tell: Tell, *, confirmations: Confirmations | None = None, all_apis: bool = True
    ) -> None:
        """Follow `all_apis` that are registered, or only what is deployed here.

        `confirmations`, where the user is asked: a dependencies.sh that nobody confirmed keeps its project back.
        """
        self._channel = channel
        self._apis = ApiServiceStub(channel)
        self._tell = tell
        self._confirmations = confirmations
        self._all_apis = all_apis
        self._followed: dict[str, Followed] = {}
        self._workers: dict[str, WorkerServiceStub] = {}

    def deploy_all(self, tasks: Iterable[ApiTask]) -> None:
        """Deploy one after the other; the refused ones are told as failing and not followed."""
        for task in tasks:
            try:
                self.deploy(Path(task.config_path), task.name)
            except (ProjectInvalid, DeploymentRefused) as error:
                self._tell(Event(STATE, task.name, FAILING, str(error)))

    def deploy(self, configuration: Path, name: str | None = None) -> None:
        """Deploy one API of a project as it is now, or all of them, as soon as submit answers.

        Raises ProjectInvalid or DeploymentRefused.
        """
        try:
            found = self._read(configuration, name)
        except OSError as error:  # a file that goes as it is read
            raise ProjectInvalid(f"{error.filename or configuration}: cannot be read: {error.strerror}") from error
        for project, archive in found:
            self._deploy(project, archive)

    def _read(self, configuration: Path, name: str | None) -> list[tuple[Project, bytes]]:
        projects = [each for each in read_project(configuration) if name in (None, each.spec.name)]
        if not projects:
            raise ProjectInvalid(f"{configuration}: the API {name} is no longer in this file")
        for script in scripts([configuration]):
            if self._confirmations is not None and not self._confirmations.hold(script):
                raise ProjectInvalid(f"{script.path} has changed; start `insula up` again to read and confirm it")
        return [(project, project.bundle()) for project in projects]

    def _deploy(self, project: Project, archive: bytes) -> None:
        while True:
            try:
                self._follow(deploy(self._channel, project.spec, archive))
            except StoreUnavailable as error:
                log.debug("not deployed yet", extra={"api": project.spec.name, "error": str(error)})
                time.sleep(RETRY_S)
            else:
                return

    def _follow(self, api: Api) -> Followed:
        known = self._followed.get(api.name)
        if known is None or known.version != api.version:
            known = self._followed[api.name] = Followed(api.name, api.version)
            self._tell(Event(DEPLOYED, api.name, version=api.version, endpoint=api.endpoint))
        return known

    def follow(self) -> None:
        """Tell every change of state until all are ready."""
        while (pause_s := self.look()) is not None:
            time.sleep(pause_s)

    def look(self) -> float | None:
        """Tell what has changed since the last look; return when to look again, None once all are ready."""
        try:
            listed = self._apis.ListApis(ListApisRequest(), timeout=CALL_TIMEOUT_S).apis
        except grpc.RpcError as error:
            log.debug("no answer yet", extra={"error": str(error)})
            return LOOK_EVERY_S
        found = [api for api in listed if self._all_apis or api.name in self._followed]
        for name in self._followed.keys() - {api.name for api in found}:
            del self._followed[name]  # it was deleted
        states = {self._look(self._follow(api), api) for api in found}
        if states <= {READY}:
            return None
        return LOOK_EVERY_S if PENDING in states else LOOK_AGAIN_EVERY_S

    def _look(self, api: Followed, registered: Api) -> str:
        """Tell what has changed of one API; the state that was told last."""
        now = self._state(api, registered)
        if now != api.told and now[0] != PENDING:
            api.told = now
            self._tell(Event(STATE, api.name, *now))
        elif api.told[0] == PENDING and (phase := _slow_phase(api)):
            self._tell(Event(PHASE, api.name, phase))
        return api.told[0]

    def _state(self, api: Followed, registered: Api) -> tuple[str, str]:
        """State and reason. The registry decides, but it remembers workers of a stack that was killed: ask them too."""
        try:
            releases = [release for worker in registered.workers for release in self._describe(worker.address)]
        except grpc.RpcError as error:
            log.debug("no answer yet", extra={"api": api.name, "error": str(error)})
            return PENDING, ""
        worker = next((release for release in releases if release.version == api.version), Worker())
        if worker.phase == registered.state:
            return registered.state, registered.reason
        if worker.phase != api.phase:
            api.phase, api.phase_since = worker.phase, time.monotonic()
        return PENDING, ""

    def _describe(self, address: str) -> Iterable[Worker]:
        stub = self._workers.setdefault(address, WorkerServiceStub(connect(address)))
        return stub.DescribeWorker(DescribeWorkerRequest(), timeout=CALL_TIMEOUT_S).workers


def _slow_phase(api: Followed) -> str | None:
    """The phase an API has been in for more than a moment, once."""
    if api.phase in {api.phase_told, ""} or time.monotonic() - api.phase_since < A_MOMENT_S:
        return None
    api.phase_told = api.phase
    return api.phase
