"""A checked stack, ready to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from insula.project import Project
from insula_local.machine.binaries import Programs
from insula_local.settings import Settings


@dataclass(frozen=True)
class Plan:
    """The settings, the projects, the programs, the payload limit of the edge, and the workers of APIs.

    An API without an entry in `replicas` has one worker.
    """

    settings: Settings
    projects: tuple[Project, ...]
    programs: Programs
    payload_bytes_max: int
    replicas: Mapping[str, int] = field(default_factory=dict[str, int])
