"""Decides what a worker does next with its releases. A pure function of the deployed versions and the local releases.

A new version serves once its handler is ready. The old version then finishes its running workloads and ends. A
deployment therefore neither loses a workload nor runs one twice, and a failing version never replaces a working one.
A worker that serves nothing starts the version that was ready last, so the API still works after a restart.

With `max_surge: 0` two versions never run at the same time. Once the new version is installed, the old one ends within
the grace period, and the new one starts. This is called a start in place. If the new one fails, the old one is
started again, and the new one is not tried again until the next deployment or refresh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from insula.phase import Phase


class Role(Enum):
    """The role of a release: a version with its runners, on this worker. `insula` lists releases in this order.

    At most one release is SERVING. At most one is CANDIDATE or IN_PLACE.
    """

    SERVING = auto()  # workloads are claimed for it
    CANDIDATE = auto()  # serves once it is ready
    IN_PLACE = auto()  # a candidate that started after the other releases had ended (`max_surge: 0`)
    FAILED = auto()  # failed as IN_PLACE, and has ended; it is listed until another version is wanted
    LEAVING = auto()  # ends within the grace period, because a candidate waits for its end
    RETIRING = auto()  # ends once it has finished its running workloads


@dataclass(frozen=True, slots=True)
class Target:
    """A version and its number of refreshes (`insula refresh`). `in_place` is true for `max_surge: 0`."""

    version: str
    generation: int
    in_place: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """The current state of a release. `phases` has the phase of each runner, or one phase for all runners together.

    `waits` is true if the release is installed and waits for StartInPlace.
    """

    number: int
    target: Target
    role: Role
    phases: tuple[Phase, ...]
    waits: bool = False

    @property
    def ready(self) -> bool:
        """Whether all runners of the release are ready."""
        return set(self.phases) == {Phase.READY}

    @property
    def failing(self) -> bool:
        """Whether a runner of the release is failing."""
        return Phase.FAILING in self.phases

    @property
    def has_its_place(self) -> bool:
        """Whether the other releases make room for this one, or have ended for it (`max_surge: 0`)."""
        return self.waits or self.role is Role.IN_PLACE


@dataclass(frozen=True, slots=True)
class Deployed:
    """The versions in the registry.

    `newest` was deployed last. `active` was ready last; it is None if no version was ready or if it equals `newest`.
    """

    newest: Target
    active: Target | None


class Absent(Enum):
    """Why the wanted version is unknown."""

    NOT_DEPLOYED = auto()  # not deployed yet, or deleted
    UNAVAILABLE = auto()  # the registry did not answer


@dataclass(frozen=True, slots=True)
class State:
    """The input of a decision. `given_up` is an active version that is no longer tried because it failed, or empty."""

    wanted: Deployed | Absent
    releases: tuple[Observed, ...] = ()
    given_up: str = ""

    @property
    def serving(self) -> Observed | None:
        """The release that workloads are claimed for."""
        return self._in(Role.SERVING)

    @property
    def candidate(self) -> Observed | None:
        """The release that will serve next."""
        return self._in(Role.CANDIDATE, Role.IN_PLACE)

    @property
    def failed(self) -> Observed | None:
        """The release that failed after it was started in place (`max_surge: 0`)."""
        return self._in(Role.FAILED)

    def _in(self, *roles: Role) -> Observed | None:
        return next((release for release in self.releases if release.role in roles), None)

    def without(self, gone: Observed) -> State:
        """Return the state without the release `gone`."""
        return replace(self, releases=tuple(release for release in self.releases if release is not gone))

    def fallen(self, candidate: Observed) -> State:
        """Return the state with the candidate's role set to FAILED."""
        rest = self.without(candidate)
        return replace(rest, releases=(*rest.releases, replace(candidate, role=Role.FAILED)))


@dataclass(frozen=True, slots=True)
class Start:
    """Install a version as the candidate, and start it. With `in_place`, start it only at StartInPlace."""

    target: Target


@dataclass(frozen=True, slots=True)
class StartInPlace:
    """Start a candidate that waits for this action. All other releases have ended."""

    number: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Claim workloads for this release from now on."""

    number: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Claim no more workloads for this release, and end it once its running workloads are finished."""

    number: int


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Claim no more workloads for this release, and end it within the grace period to make room for `successor`."""

    number: int
    successor: str


@dataclass(frozen=True, slots=True)
class End:
    """End this release now and forget it."""

    number: int


@dataclass(frozen=True, slots=True)
class FallBack:
    """End this release now. It stays in the list of releases, with the role FAILED."""

    number: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop starting the active version, because it fails. The worker starts the newest version instead."""

    version: str


Action = Start | StartInPlace | Promote | Retire | MakeRoom | End | FallBack | GiveUp


def decide(state: State) -> list[Action]:
    """Return the actions to perform now, in order. Empty if there is nothing to do until the state changes."""
    match state.wanted:
        case Absent.UNAVAILABLE:
            return _promote(state)
        case Absent.NOT_DEPLOYED:
            over = [release for release in (state.candidate, state.failed) if release is not None]
            return [*_retire(state), *(End(release.number) for release in over)]
        case Deployed() as wanted:
            return _follow(state, wanted)


def falls_back(release: Observed, wanted: Deployed | Absent) -> bool:
    """Return whether to start the previous version again, because `release` was started in place and is failing."""
    if not isinstance(wanted, Deployed) or wanted.active is None or release.target != wanted.newest:
        return False
    return release.role is Role.IN_PLACE and release.failing


def _follow(state: State, wanted: Deployed) -> list[Action]:
    candidate, serving, failed = state.candidate, state.serving, state.failed
    if failed is not None and failed.target != wanted.newest:
        return [End(failed.number), *decide(state.without(failed))]
    if candidate is not None and falls_back(candidate, wanted):
        return [FallBack(candidate.number), *decide(state.fallen(candidate))]
    target = _target(state, wanted)
    if candidate is None:
        return [] if serving is not None and serving.target == target else [Start(target)]
    if candidate.target == target == wanted.active and candidate.failing and failed is None:
        return [GiveUp(target.version), *decide(replace(state, given_up=target.version))]
    if candidate.target != target:
        return [End(candidate.number), *decide(state.without(candidate))]
    return _start_in_place(state, candidate) if candidate.waits else _promote(state)


def _target(state: State, wanted: Deployed) -> Target:
    """Return the version to run now: the newest one, or the active one if nothing serves or the newest has failed."""
    candidate, active = state.candidate, wanted.active
    if active is None:
        return wanted.newest
    if state.failed is not None:
        return active
    if state.serving is not None or active.version == state.given_up:
        return wanted.newest
    if candidate is not None and candidate.target == wanted.newest and candidate.has_its_place:
        return wanted.newest
    return active


def _start_in_place(state: State, candidate: Observed) -> list[Action]:
    """Return the actions that end the other releases, or StartInPlace for the candidate once they have ended."""
    others = [release for release in state.releases if release is not candidate and release.role is not Role.FAILED]
    if not others:
        return [StartInPlace(candidate.number)]
    version = candidate.target.version
    return [MakeRoom(release.number, version) for release in others if release.role is not Role.LEAVING]


def _promote(state: State) -> list[Action]:
    candidate = state.candidate
    return [*_retire(state), Promote(candidate.number)] if candidate is not None and candidate.ready else []


def _retire(state: State) -> list[Action]:
    return [Retire(state.serving.number)] if state.serving is not None else []
