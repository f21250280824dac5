"""What a worker does next with its releases: a pure function of what is deployed and of what runs here.

A new version serves once its handler is ready, and the one before it then ends what it runs: no workload is lost or run
twice by a deployment, and a version that fails never replaces one that works. A worker that serves nothing begins with
the version that worked last, so a restart does not stop an API either.

With `max_surge: 0` two versions never run at once: when the new one is installed, the one before ends, within the grace
period, and is started again if the new one fails. That one is then not tried again until another deployment or a
refresh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from insula.phase import Phase


class Role(Enum):
    """What a release is there for, in the order in which they are shown.

    One serves at most, and one at most, in either of the next two roles, is to follow it.
    """

    SERVING = auto()  # workloads are claimed for it
    CANDIDATE = auto()  # serves once it is ready
    IN_PLACE = auto()  # the same, but the others have ended for it
    FAILED = auto()  # failed in place, and has ended; it is shown until something else is wanted
    LEAVING = auto()  # ends within the grace period, because a candidate waits for its place
    RETIRING = auto()  # ends once it has finished what it began


@dataclass(frozen=True, slots=True)
class Target:
    """What a release runs: a version, as fresh as the last refresh. `in_place` is its `max_surge: 0`."""

    version: str
    generation: int
    in_place: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """A release as it stands. `phases` has one phase for each of its runners.

    `waits` tells whether it is installed and is to be told when to start.
    """

    number: int
    target: Target
    role: Role
    phases: tuple[Phase, ...]
    waits: bool = False

    @property
    def ready(self) -> bool:
        """Whether all of its runners are ready."""
        return set(self.phases) == {Phase.READY}

    @property
    def failing(self) -> bool:
        """Whether one of its runners fails."""
        return Phase.FAILING in self.phases

    @property
    def has_its_place(self) -> bool:
        """Whether the others end for it, or have."""
        return self.waits or self.role is Role.IN_PLACE


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the registry wants: the version deployed last, and the one that became ready last if it is another."""

    newest: Target
    active: Target | None


class Absent(Enum):
    """Why nothing is known to be wanted."""

    NOT_DEPLOYED = auto()  # not yet, or no longer
    UNAVAILABLE = auto()  # the registry did not answer


@dataclass(frozen=True, slots=True)
class State:
    """All that a decision depends on. `given_up` is an active version that did not start any more, or empty."""

    wanted: Deployed | Absent
    releases: tuple[Observed, ...] = ()
    given_up: str = ""

    @property
    def serving(self) -> Observed | None:
        """The release that workloads are claimed for."""
        return self._in(Role.SERVING)

    @property
    def candidate(self) -> Observed | None:
        """The release that is to serve."""
        return self._in(Role.CANDIDATE, Role.IN_PLACE)

    @property
    def failed(self) -> Observed | None:
        """The release that failed in place."""
        return self._in(Role.FAILED)

    def _in(self, *roles: Role) -> Observed | None:
        return next((release for release in self.releases if release.role in roles), None)

    def without(self, gone: Observed) -> State:
        """Return the state once a release is forgotten."""
        return replace(self, releases=tuple(release for release in self.releases if release is not gone))

    def fallen(self, candidate: Observed) -> State:
        """Return the state once a candidate has failed in place."""
        rest = self.without(candidate)
        return replace(rest, releases=(*rest.releases, replace(candidate, role=Role.FAILED)))


@dataclass(frozen=True, slots=True)
class Start:
    """Install a version as the candidate, and start it; one that is `in_place` waits for StartInPlace."""

    target: Target


@dataclass(frozen=True, slots=True)
class StartInPlace:
    """Start a candidate that waits: nothing else runs."""

    number: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Claim workloads for this release from now on."""

    number: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Claim nothing more for this release, and end it once it has finished what it began."""

    number: int


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Claim nothing more for this release, and end it within the grace period, as `successor` waits for its place."""

    number: int
    successor: str


@dataclass(frozen=True, slots=True)
class End:
    """End this release now and forget it."""

    number: int


@dataclass(frozen=True, slots=True)
class FallBack:
    """End this release now, but remember that it failed in place."""

    number: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Remember that the active version does not start any more."""

    version: str


Action = Start | StartInPlace | Promote | Retire | MakeRoom | End | FallBack | GiveUp


def decide(state: State) -> list[Action]:
    """Return what to do now, in this order; empty if there is nothing to do until something changes."""
    match state.wanted:
        case Absent.UNAVAILABLE:
            return _promote(state)
        case Absent.NOT_DEPLOYED:
            over = [release for release in (state.candidate, state.failed) if release is not None]
            return [*_retire(state), *(End(release.number) for release in over)]
        case Deployed() as wanted:
            return _follow(state, wanted)


def falls_back(release: Observed, wanted: Deployed | Absent) -> bool:
    """Whether the version before is started again, because this one was started in its place and fails."""
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
    """Return what to run now: the newest version, unless the one that became ready last has its turn first."""
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
    """Have the others end for a candidate that waits; once they have, start it."""
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
