"""Which version a worker installs, starts, serves and ends: every rule as a case of `decide`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from insula.phase import Phase
from insula_worker.decision import (
    Absent,
    Action,
    Deployed,
    End,
    FallBack,
    GiveUp,
    MakeRoom,
    Observed,
    Promote,
    Retire,
    Role,
    Start,
    StartInPlace,
    State,
    Target,
    decide,
)

OLD, NEW, NEWER = (Target(version, 0, in_place=False) for version in ("old", "new", "newer"))
NEW_IN_PLACE = Target("new", 0, in_place=True)
REFRESHED = Target("old", 1, in_place=False)


def release(
    number: int,
    target: Target,
    role: Role = Role.CANDIDATE,
    *phases: Phase,
    waits: bool = False,
) -> Observed:
    return Observed(number, target, role, phases or (Phase.INSTALLING,), waits)


def serving(number: int, target: Target) -> Observed:
    return release(number, target, Role.SERVING, Phase.READY)


@dataclass(frozen=True)
class Case:
    """`releases` and `given_up` are what there is, `wanted` what is deployed."""

    name: str
    wanted: Deployed | Absent
    releases: tuple[Observed, ...]
    actions: list[Action]
    given_up: str = ""


FIRST, UPDATE, UPDATE_IN_PLACE = Deployed(NEW, None), Deployed(NEW, OLD), Deployed(NEW_IN_PLACE, OLD)
READY, FAILING, STARTING = Phase.READY, Phase.FAILING, Phase.STARTING

CASES = [
    Case("the first version is started", FIRST, (), [Start(NEW)]),
    Case("it serves once it is ready", FIRST, (release(1, NEW, Role.CANDIDATE, READY),), [Promote(1)]),
    Case("not while it is starting", FIRST, (release(1, NEW, Role.CANDIDATE, STARTING),), []),
    Case("not while one of its runners is starting", FIRST, (release(1, NEW, Role.CANDIDATE, READY, STARTING),), []),
    Case("nothing is left to do once it serves", FIRST, (serving(1, NEW),), []),
    Case("a runner that is restarted changes nothing", FIRST, (release(1, NEW, Role.SERVING, STARTING),), []),
    # A new version.
    Case("a new version is started beside the one that serves", UPDATE, (serving(1, OLD),), [Start(NEW)]),
    Case(
        "a new version replaces the one before once it is ready",
        UPDATE,
        (serving(1, OLD), release(2, NEW, Role.CANDIDATE, READY)),
        [Retire(1), Promote(2)],
    ),
    Case(
        "a failing version never replaces one that works",
        UPDATE,
        (serving(1, OLD), release(2, NEW, Role.CANDIDATE, FAILING)),
        [],
    ),
    Case(
        "one of whose runners fails neither",
        UPDATE,
        (serving(1, OLD), release(2, NEW, Role.CANDIDATE, READY, FAILING)),
        [],
    ),
    Case(
        "a newer version takes the place of the one that is starting",
        Deployed(NEWER, OLD),
        (serving(1, OLD), release(2, NEW)),
        [End(2), Start(NEWER)],
    ),
    Case(
        "the version that serves, deployed again, ends the one that is starting",
        Deployed(OLD, None),
        (serving(1, OLD), release(2, NEW)),
        [End(2)],
    ),
    Case(
        "a version that comes back while its first life ends is started anew",
        Deployed(OLD, NEW),
        (release(1, OLD, Role.RETIRING, Phase.DRAINING), serving(2, NEW)),
        [Start(OLD)],
    ),
    Case("a refresh starts the same version afresh", Deployed(REFRESHED, None), (serving(1, OLD),), [Start(REFRESHED)]),
    # A restart of the worker.
    Case("a worker that starts begins with the active version", UPDATE, (), [Start(OLD)]),
    Case("which serves once it is ready", UPDATE, (release(1, OLD, Role.CANDIDATE, READY),), [Promote(1)]),
    Case(
        "an active version that fails is given up for the newest",
        UPDATE,
        (release(1, OLD, Role.CANDIDATE, FAILING),),
        [GiveUp("old"), End(1), Start(NEW)],
    ),
    Case(
        "also if the newest one is starting, because another worker had an older one ready meanwhile",
        UPDATE,
        (release(1, NEW, Role.CANDIDATE, STARTING),),
        [End(1), Start(OLD)],
    ),
    Case("a given-up version is not tried before the newest", UPDATE, (), [Start(NEW)], given_up="old"),
    Case(
        "nor before one that is newer still",
        Deployed(NEWER, OLD),
        (release(1, NEW, Role.CANDIDATE, FAILING),),
        [End(1), Start(NEWER)],
        given_up="old",
    ),
    # An update in place, which is what max_surge 0 asks for.
    Case(
        "in place, the one that serves goes on while the new one is installed",
        UPDATE_IN_PLACE,
        (serving(1, OLD), release(2, NEW_IN_PLACE)),
        [],
    ),
    Case(
        "nothing ends for what cannot be installed",
        UPDATE_IN_PLACE,
        (serving(1, OLD), release(2, NEW_IN_PLACE, Role.CANDIDATE, FAILING)),
        [],
    ),
    Case(
        "once it is installed, all others make room",
        UPDATE_IN_PLACE,
        (
            release(1, NEWER, Role.RETIRING, Phase.DRAINING),
            serving(2, OLD),
            release(3, NEW_IN_PLACE, waits=True),
        ),
        [MakeRoom(1, "new"), MakeRoom(2, "new")],
    ),
    Case(
        "it does not start before they have ended",
        UPDATE_IN_PLACE,
        (release(1, OLD, Role.LEAVING, Phase.DRAINING), release(2, NEW_IN_PLACE, waits=True)),
        [],
    ),
    Case(
        "also if it was installed at the second try",
        UPDATE_IN_PLACE,
        (
            release(1, OLD, Role.LEAVING, Phase.DRAINING),
            release(2, NEW_IN_PLACE, Role.CANDIDATE, FAILING, waits=True),
        ),
        [],
    ),
    Case(
        "it starts once they have",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, waits=True),),
        [StartInPlace(2)],
    ),
    Case(
        "the first version in place has nothing to wait for",
        Deployed(NEW_IN_PLACE, None),
        (release(1, NEW_IN_PLACE, waits=True),),
        [StartInPlace(1)],
    ),
    Case(
        "it keeps its place while it starts",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, STARTING),),
        [],
    ),
    Case(
        "it serves once it is ready in its place",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, READY),),
        [Promote(2)],
    ),
    Case(
        "failing in place, it ends and the one before is started again",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, FAILING),),
        [FallBack(2), Start(OLD)],
    ),
    Case(
        "failing in place with no version before it, it is tried again by itself",
        Deployed(NEW_IN_PLACE, None),
        (release(1, NEW_IN_PLACE, Role.IN_PLACE, FAILING),),
        [],
    ),
    Case(
        "a version that was started again is kept while it fails, too",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), release(3, OLD, Role.CANDIDATE, FAILING)),
        [],
    ),
    Case(
        "a version that failed in place is not tried again",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [],
    ),
    Case(
        "until a refresh",
        Deployed(Target("new", 1, in_place=True), REFRESHED),
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [End(2), Start(Target("new", 1, in_place=True))],
    ),
    Case(
        "or until another version is deployed",
        Deployed(NEWER, OLD),
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [End(2), Start(NEWER)],
    ),
    Case(
        "the other one may be the one that serves",
        Deployed(OLD, None),
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [End(2)],
    ),
    Case(
        "a newer version during a start in place lets the active one begin",
        Deployed(NEWER, OLD),
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, STARTING),),
        [End(2), Start(OLD)],
    ),
    # Deletion, and no registry.
    Case("without a deployment there is nothing to do", Absent.NOT_DEPLOYED, (), []),
    Case(
        "a deleted API ends all its versions",
        Absent.NOT_DEPLOYED,
        (
            serving(1, OLD),
            release(2, NEW),
            release(3, NEW_IN_PLACE, Role.FAILED, FAILING),
            release(4, OLD, Role.RETIRING, Phase.DRAINING),
        ),
        [Retire(1), End(2), End(3)],
    ),
    Case("while the registry is unavailable, nothing is started", Absent.UNAVAILABLE, (), []),
    Case(
        "nothing ends",
        Absent.UNAVAILABLE,
        (serving(1, OLD), release(2, NEW_IN_PLACE, waits=True)),
        [],
    ),
    Case(
        "and what becomes ready serves",
        Absent.UNAVAILABLE,
        (serving(1, OLD), release(2, NEW, Role.CANDIDATE, READY)),
        [Retire(1), Promote(2)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_rule_of_a_deployment(case: Case) -> None:
    assert decide(State(case.wanted, case.releases, case.given_up)) == case.actions
