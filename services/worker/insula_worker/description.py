"""Describes a worker's releases for the registry and for WorkerService."""

from __future__ import annotations

from collections.abc import Callable, Collection

from insula.phase import Phase
from insula.v1 import worker_service_pb2
from insula_worker.decision import Absent, Deployed, Role, falls_back
from insula_worker.release import Release
from insula_worker.settings import Settings


def describe(
    releases: Collection[Release], wanted: Deployed | Absent, settings: Settings, running: Callable[[Release], int]
) -> list[worker_service_pb2.Worker]:
    """Return an entry for each release, in the order of their roles. `running` counts a release's running attempts."""
    described: list[worker_service_pb2.Worker] = []
    for release in sorted(releases, key=lambda release: release.role.value):
        phase, reason = _shown(release, releases, wanted)
        described.append(
            worker_service_pb2.Worker(
                name=settings.worker,
                api=settings.api,
                version=release.target.version,
                phase=phase,
                reason=reason,
                address=settings.advertised,
                running=running(release),
                generation=release.target.generation,
            )
        )
    return described


def _shown(release: Release, releases: Collection[Release], wanted: Deployed | Absent) -> tuple[Phase, str]:
    """Return the phase and reason to report for a release.

    With `max_surge: 0`, a release starts after the previous version has ended. If it fails, the previous version is
    started again. Until the previous version is ready or failing, the failed release is reported as starting.
    """
    if release.role is Role.FAILED:
        before = (
            other for role in (Role.SERVING, Role.CANDIDATE, Role.IN_PLACE) for other in releases if other.role is role
        )
        again = next(before, None)
        if again is None or again.phase not in (Phase.READY, Phase.FAILING):
            return Phase.STARTING, ""
        words = "serves again" if again.phase is Phase.READY else "was started again and fails too"
        return release.phase, f"{release.reason}\nthe previous version {again.target.version[:12]} {words}"
    if falls_back(release.observe(), wanted):
        return Phase.STARTING, ""
    if release.role in (Role.CANDIDATE, Role.IN_PLACE) and release.phase is Phase.READY:
        return Phase.STARTING, ""  # only a release that serves is reported as ready
    return release.phase, release.reason
