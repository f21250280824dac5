"""The phases of a worker, in the words of the contract."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """installing -> starting -> ready; failing from the first two, or when a handler does not come back."""

    INSTALLING = "installing"  # fetches the bundle, builds the environment
    STARTING = "starting"  # the handler is being imported and constructed
    READY = "ready"  # __init__ has returned
    FAILING = "failing"  # the reason says why; tried again with back-off
    DRAINING = "draining"  # told to stop: claims nothing more
