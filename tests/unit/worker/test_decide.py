"""The rules by which a worker installs, starts, serves and ends versions. Each rule is a case of `decide`."""

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
    """The input of a decision, and the actions expected. `wanted` are the deployed versions."""

    name: str
    wanted: Deployed | Absent
    releases: tuple[Observed, ...]
    actions: list[Action]
    given_up: str = ""


FIRST, UPDATE, UPDATE_IN_PLACE = Deployed(NEW, None), Deployed(NEW, OLD), Deployed(NEW_IN_PLACE, OLD)
READY, FAILING, STARTING = Phase.READY, Phase.FAILING, Phase.STARTING

CASES = [
    Case("the first version is started", FIRST, (), [Start(NEW)]),
    Case("the first version serves once it is ready", FIRST, (release(1, NEW, Role.CANDIDATE, READY),), [Promote(1)]),
    Case("a version does not serve while it is starting", FIRST, (release(1, NEW, Role.CANDIDATE, STARTING),), []),
    Case(
        "a version does not serve while one of its runners is starting",
        FIRST,
        (release(1, NEW, Role.CANDIDATE, READY, STARTING),),
        [],
    ),
    Case("there is nothing to do once the only version serves", FIRST, (serving(1, NEW),), []),
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
        "a version with one failing runner never replaces one that works",
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
        "a version that is deployed again while its old release ends gets a new release",
        Deployed(OLD, NEW),
        (release(1, OLD, Role.RETIRING, Phase.DRAINING), serving(2, NEW)),
        [Start(OLD)],
    ),
    Case("a refresh starts the same version afresh", Deployed(REFRESHED, None), (serving(1, OLD),), [Start(REFRESHED)]),
    # A restart of the worker.
    Case("a worker without releases starts the active version", UPDATE, (), [Start(OLD)]),
    Case("the active version serves once it is ready", UPDATE, (release(1, OLD, Role.CANDIDATE, READY),), [Promote(1)]),
    Case(
        "an active version that fails is given up for the newest",
        UPDATE,
        (release(1, OLD, Role.CANDIDATE, FAILING),),
        [GiveUp("old"), End(1), Start(NEW)],
    ),
    Case(
        "the newest version ends while it is starting if another worker made an older one active",
        UPDATE,
        (release(1, NEW, Role.CANDIDATE, STARTING),),
        [End(1), Start(OLD)],
    ),
    Case("a given-up version is not started before the newest", UPDATE, (), [Start(NEW)], given_up="old"),
    Case(
        "a given-up version is not started before an even newer one",
        Deployed(NEWER, OLD),
        (release(1, NEW, Role.CANDIDATE, FAILING),),
        [End(1), Start(NEWER)],
        given_up="old",
    ),
    # An update in place (`max_surge: 0`).
    Case(
        "in place, the old version serves while the new one is installed",
        UPDATE_IN_PLACE,
        (serving(1, OLD), release(2, NEW_IN_PLACE)),
        [],
    ),
    Case(
        "in place, the old version does not end for a version that cannot be installed",
        UPDATE_IN_PLACE,
        (serving(1, OLD), release(2, NEW_IN_PLACE, Role.CANDIDATE, FAILING)),
        [],
    ),
    Case(
        "in place, all other releases end once the new version is installed",
        UPDATE_IN_PLACE,
        (
            release(1, NEWER, Role.RETIRING, Phase.DRAINING),
            serving(2, OLD),
            release(3, NEW_IN_PLACE, waits=True),
        ),
        [MakeRoom(1, "new"), MakeRoom(2, "new")],
    ),
    Case(
        "in place, the new version does not start before all others have ended",
        UPDATE_IN_PLACE,
        (release(1, OLD, Role.LEAVING, Phase.DRAINING), release(2, NEW_IN_PLACE, waits=True)),
        [],
    ),
    Case(
        "in place, a version whose second installation succeeded does not start before all others have ended",
        UPDATE_IN_PLACE,
        (
            release(1, OLD, Role.LEAVING, Phase.DRAINING),
            release(2, NEW_IN_PLACE, Role.CANDIDATE, FAILING, waits=True),
        ),
        [],
    ),
    Case(
        "in place, the new version starts once all others have ended",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, waits=True),),
        [StartInPlace(2)],
    ),
    Case(
        "in place, the first version starts once it is installed",
        Deployed(NEW_IN_PLACE, None),
        (release(1, NEW_IN_PLACE, waits=True),),
        [StartInPlace(1)],
    ),
    Case(
        "in place, nothing else is started while the new version starts",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, STARTING),),
        [],
    ),
    Case(
        "in place, the new version serves once it is ready",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, READY),),
        [Promote(2)],
    ),
    Case(
        "a version that fails in place ends, and the previous one is started again",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, FAILING),),
        [FallBack(2), Start(OLD)],
    ),
    Case(
        "a version that fails in place stays if there is no previous one",
        Deployed(NEW_IN_PLACE, None),
        (release(1, NEW_IN_PLACE, Role.IN_PLACE, FAILING),),
        [],
    ),
    Case(
        "the previous version stays if it fails too",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), release(3, OLD, Role.CANDIDATE, FAILING)),
        [],
    ),
    Case(
        "a version that failed in place is not started again",
        UPDATE_IN_PLACE,
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [],
    ),
    Case(
        "a version that failed in place is started again by a refresh",
        Deployed(Target("new", 1, in_place=True), REFRESHED),
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [End(2), Start(Target("new", 1, in_place=True))],
    ),
    Case(
        "a version that failed in place is forgotten once another version is deployed",
        Deployed(NEWER, OLD),
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [End(2), Start(NEWER)],
    ),
    Case(
        "a version that failed in place is forgotten once the serving version is deployed",
        Deployed(OLD, None),
        (release(2, NEW_IN_PLACE, Role.FAILED, FAILING), serving(3, OLD)),
        [End(2)],
    ),
    Case(
        "if a newer version is deployed during a start in place, the active one is started first",
        Deployed(NEWER, OLD),
        (release(2, NEW_IN_PLACE, Role.IN_PLACE, STARTING),),
        [End(2), Start(OLD)],
    ),
    # The API is deleted, or the registry is unavailable.
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
        "while the registry is unavailable, nothing ends",
        Absent.UNAVAILABLE,
        (serving(1, OLD), release(2, NEW_IN_PLACE, waits=True)),
        [],
    ),
    Case(
        "while the registry is unavailable, a candidate serves once it is ready",
        Absent.UNAVAILABLE,
        (serving(1, OLD), release(2, NEW, Role.CANDIDATE, READY)),
        [Retire(1), Promote(2)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_rule_of_a_deployment(case: Case) -> None:
    assert decide(State(case.wanted, case.releases, case.given_up)) == case.actions
