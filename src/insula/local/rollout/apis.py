"""Deploys each API and follows it until it is ready."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from insula.deploy import DeploymentRefused, deploy
from insula.errors import ProjectInvalid, StoreUnavailable
from insula.local.rollout.events import DEPLOYED, FAILING, PENDING, PHASE, READY, STATE, ApiTask, Event
from insula.project import read_project
from insula.v1.api_service_pb2 import GetApiRequest
from insula.v1.api_service_pb2_grpc import ApiServiceStub
from insula.v1.worker_service_pb2 import DescribeWorkerRequest, Worker
from insula.v1.worker_service_pb2_grpc import WorkerServiceStub

log = logging.getLogger(__name__)

RETRY_S: Final = 0.05
LOOK_EVERY_S: Final = 0.1
LOOK_AGAIN_EVERY_S: Final = 1.0
"""Once each API has been ready or failing: what is failing is tried again by its worker, and may take its time."""
CALL_TIMEOUT_S: Final = 5
A_MOMENT_S: Final = 1.5
"""A phase that lasts longer is told: packages are being installed, or a model is loading."""

_CHANNEL: Final = (
    ("grpc.enable_http_proxy", 0),
    # gRPC waits a second and more after a refused connection; what we wait for starts in less.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)

Tell = Callable[[Event], None]


def connect(address: str) -> grpc.Channel:
    """A channel to a server on this machine that may still be starting."""
    return grpc.insecure_channel(address, options=_CHANNEL)


@dataclass
class Followed:
    """An API that was deployed, and what was last said of it."""

    task: ApiTask
    version: str
    worker: WorkerServiceStub
    told: tuple[str, str] = (PENDING, "")
    phase: str = ""
    phase_since: float = 0
    phase_told: str = ""


def deploy_all(channel: grpc.Channel, tasks: Iterable[ApiTask], tell: Tell) -> list[Followed]:
    """Deploy one after the other; the refused ones are told as failing and not followed."""
    followed: list[Followed] = []
    for task in tasks:
        try:
            version = _deploy(channel, task)
        except (ProjectInvalid, DeploymentRefused) as error:
            tell(Event(STATE, task.name, FAILING, str(error)))
            continue
        tell(Event(DEPLOYED, task.name))
        followed.append(Followed(task, version, WorkerServiceStub(connect(task.worker))))
    return followed


def _deploy(channel: grpc.Channel, task: ApiTask) -> str:
    """Deploy the project as it is now, when submit answers; return the version."""
    projects = {project.spec.name: project for project in read_project(Path(task.config_path))}
    if task.name not in projects:
        raise ProjectInvalid(f"{task.config_path}: the API {task.name} is no longer in this file")
    project = projects[task.name]
    archive = project.bundle().data
    while True:
        try:
            return deploy(channel, project.spec, archive).version
        except StoreUnavailable as error:
            log.debug("not deployed yet", extra={"api": task.name, "error": str(error)})
            time.sleep(RETRY_S)


def follow(channel: grpc.Channel, followed: list[Followed], tell: Tell) -> None:
    """Tell every change of state until all are ready."""
    apis = ApiServiceStub(channel)
    while True:
        for api in followed:
            now = _look(apis, api)
            if now != api.told and now[0] != PENDING:
                api.told = now
                tell(Event(STATE, api.task.name, *now))
            elif api.told[0] == PENDING and (phase := _slow_phase(api)):
                tell(Event(PHASE, api.task.name, phase))
        states = {api.told[0] for api in followed}
        if states <= {READY}:
            return
        time.sleep(LOOK_EVERY_S if PENDING in states else LOOK_AGAIN_EVERY_S)


def _look(apis: ApiServiceStub, api: Followed) -> tuple[str, str]:
    """State and reason. The registry decides, but it remembers workers of a stack that was killed: ask ours as well."""
    try:
        releases = api.worker.DescribeWorker(DescribeWorkerRequest(), timeout=CALL_TIMEOUT_S).workers
        registered = apis.GetApi(GetApiRequest(name=api.task.name), timeout=CALL_TIMEOUT_S).api
    except grpc.RpcError as error:
        log.debug("no answer yet", extra={"api": api.task.name, "error": str(error)})
        return PENDING, ""
    worker = next((release for release in releases if release.version == api.version), Worker())
    if worker.phase == registered.state:
        return registered.state, registered.reason
    if worker.phase != api.phase:
        api.phase, api.phase_since = worker.phase, time.monotonic()
    return PENDING, ""


def _slow_phase(api: Followed) -> str | None:
    """The phase an API has been in for more than a moment, once."""
    if api.phase in {api.phase_told, ""} or time.monotonic() - api.phase_since < A_MOMENT_S:
        return None
    api.phase_told = api.phase
    return api.phase
