"""The plan of a stack: what `preflight` has checked and `up` starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from insula.project import Project
from insula_local.machine.binaries import Programs
from insula_local.settings import Settings


@dataclass(frozen=True)
class WorkerId:
    """One of the workers of an API. `number` counts from 0."""

    api: str
    number: int = 0

    @property
    def name(self) -> str:
        """The name of the worker. A worker with the same name as before reclaims its workloads at once."""
        return f"{self.api}-{self.number}"

    @property
    def short(self) -> str:
        """The short name: `API` for worker 0, `API.N` for worker N. It is unique: the name of an API has no dot."""
        return f"{self.api}.{self.number}" if self.number else self.api

    @property
    def part(self) -> str:
        """The name of the part that runs this worker."""
        return f"worker {self.short}"


@dataclass(frozen=True)
class Plan:
    """The settings, the projects, the programs, the payload limit of the edge, and the numbers of processes.

    `replicas` has the number of workers of an API, which is 1 without an entry. `devices` has the environment variables
    that select the accelerators of a worker. submit and results have `processes` processes each.
    """

    settings: Settings
    projects: tuple[Project, ...]
    programs: Programs
    payload_bytes_max: int
    replicas: Mapping[str, int] = field(default_factory=dict[str, int])
    devices: Mapping[WorkerId, Mapping[str, str]] = field(default_factory=dict[WorkerId, Mapping[str, str]])
    processes: int = 1

    def workers(self, api: str) -> list[WorkerId]:
        """Return the workers of an API, at least one."""
        return [WorkerId(api, number) for number in range(self.replicas.get(api, 1))]

    def parts_of(self, service: str) -> list[str]:
        """Return the names of the parts that are processes of submit or results: `submit`, `submit-2`, `submit-3`."""
        return [service, *(f"{service}-{number}" for number in range(2, self.processes + 1))]
