"""A checked stack, ready to start."""

from __future__ import annotations

from dataclasses import dataclass

from insula.project import Project
from insula_local.machine.binaries import Programs
from insula_local.settings import Settings


@dataclass(frozen=True)
class Plan:
    """The settings, the projects, the programs and the payload limit of the edge."""

    settings: Settings
    projects: tuple[Project, ...]
    programs: Programs
    payload_bytes_max: int
