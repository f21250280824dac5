"""The phases of a worker and the states of an API, in the words of the contract."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """installing -> starting -> ready. Any of them becomes failing if installing or starting a handler fails."""

    INSTALLING = "installing"  # the worker fetches the bundle and builds the environment
    STARTING = "starting"  # the handler is being imported and constructed
    READY = "ready"  # __init__ has returned
    FAILING = "failing"  # for a reason; the worker retries with backoff
    DRAINING = "draining"  # the worker is stopping and claims no more workloads


class ApiState(StrEnum):
    """The state of an API's latest version, from the phases of its workers."""

    PENDING = "pending"  # no worker of this version is ready or failing
    READY = "ready"  # a worker of this version is ready
    FAILING = "failing"  # a worker of this version is failing and none is ready; the reason is that worker's
