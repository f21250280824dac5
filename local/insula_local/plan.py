"""A stack that may be started."""

from __future__ import annotations

from dataclasses import dataclass

from insula.project import Project
from insula_local.machine.binaries import Programs
from insula_local.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What the user asked for, the APIs there are to run, the programs they run with, and the edge's limit."""

    settings: Settings
    projects: tuple[Project, ...]
    programs: Programs
    payload_bytes_max: int
