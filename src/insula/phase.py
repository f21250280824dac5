"""The phases of a worker and the states of an API, in the words of the contract."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """installing -> starting -> ready; failing from the first two, or when a handler does not come back."""

    INSTALLING = "installing"  # fetches the bundle, builds the environment
    STARTING = "starting"  # the handler is being imported and constructed
    READY = "ready"  # __init__ has returned
    FAILING = "failing"  # with a reason; retried with back-off
    DRAINING = "draining"  # stopping: claims no more workloads


class ApiState(StrEnum):
    """The state of an API's latest version, from the phases of its workers."""

    PENDING = "pending"  # no worker of it is ready, and none is failing
    READY = "ready"  # a worker of it is ready
    FAILING = "failing"  # a worker of it is failing, and none is ready; the reason is that worker's
