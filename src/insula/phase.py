"""The phases of a version on a worker and the states of an API, in the words of the gRPC messages."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """The phase of a version on a worker: installing -> starting -> ready. Each can become failing or draining."""

    INSTALLING = "installing"  # the worker fetches the bundle and builds the environment
    STARTING = "starting"  # the handler is being imported and constructed
    READY = "ready"  # __init__ has returned
    FAILING = "failing"  # installing or starting the handler failed; the worker retries with backoff
    DRAINING = "draining"  # the worker is stopping and claims no more workloads


class ApiState(StrEnum):
    """The state of an API's latest version, from the phases of its workers."""

    PENDING = "pending"  # no worker of this version is ready or failing
    READY = "ready"  # a worker of this version is ready
    FAILING = "failing"  # a worker of this version is failing and none is ready; the API has that worker's reason
