"""The invariants of `decide`: a model of a worker gets random events, and its state is checked after each of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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

VERSIONS = {"a": False, "b": False, "c": True, "d": True}
"""Maps each version to whether it starts in place (`max_surge: 0`): after the end of the version before it."""
ENDING = (Role.RETIRING, Role.LEAVING)
CANDIDATES = (Role.CANDIDATE, Role.IN_PLACE)
STEPS_MAX = 3
"""The maximum number of decisions in a row until there is nothing left to do."""


@dataclass
class Registered:
    """A model of an API in the registry."""

    version: str
    active: str = ""
    generation: int = 0

    def wanted(self) -> Deployed:
        active = self._target(self.active) if self.active not in ("", self.version) else None
        return Deployed(self._target(self.version), active)

    def _target(self, version: str) -> Target:
        return Target(version, self.generation, VERSIONS[version])


class WorkerModel(RuleBasedStateMachine):
    """A model of the worker. It performs each action immediately. The rules are the events."""

    def __init__(self) -> None:
        super().__init__()
        self.registered: Registered | None = None
        self.available = True
        self.releases: dict[int, Observed] = {}
        self.given_up = ""
        self.started = 0

    # Events.

    @rule(version=st.sampled_from(sorted(VERSIONS)))
    def deploy(self, version: str) -> None:
        self.registered = self.registered or Registered(version)
        self.registered.version = version
        self.settle()

    @precondition(lambda self: self.registered is not None)
    @rule()
    def refresh(self) -> None:
        assert self.registered is not None
        self.registered.generation += 1
        self.settle()

    @precondition(lambda self: self.registered is not None)
    @rule()
    def delete(self) -> None:
        self.registered = None
        self.settle()

    @rule()
    def the_registry_becomes_unavailable_or_available(self) -> None:
        self.available = not self.available
        self.settle()

    @precondition(lambda self: self.state().candidate is not None)
    @rule(phases=st.lists(st.sampled_from([Phase.STARTING, Phase.READY, Phase.FAILING]), min_size=1, max_size=2))
    def the_candidate_changes_its_phase(self, phases: list[Phase]) -> None:
        candidate = self.state().candidate
        assert candidate is not None
        if runs(candidate):
            moved = replace(candidate, phases=tuple(phases))
        elif Phase.FAILING in phases:
            moved = replace(candidate, phases=(Phase.FAILING,), waits=candidate.waits)
        else:
            moved = replace(candidate, waits=True)
        self.releases[candidate.number] = moved
        self.settle()

    @precondition(lambda self: self.state().candidate is not None)
    @rule()
    def the_candidate_is_ready_if_it_runs(self) -> None:
        self.the_candidate_changes_its_phase([Phase.READY])

    @precondition(lambda self: self.state().serving is not None)
    @rule(phase=st.sampled_from([Phase.STARTING, Phase.READY, Phase.FAILING]))
    def the_serving_release_changes_its_phase(self, phase: Phase) -> None:
        serving = self.state().serving
        assert serving is not None
        self.releases[serving.number] = replace(serving, phases=(phase,))
        self.settle()

    @precondition(lambda self: any(release.role in ENDING for release in self.releases.values()))
    @rule(data=st.data())
    def an_ending_release_has_ended(self, data: st.DataObject) -> None:
        ending = [number for number, release in self.releases.items() if release.role in ENDING]
        del self.releases[data.draw(st.sampled_from(ending))]
        self.settle()

    # The model of the worker.

    def state(self) -> State:
        known = self.registered.wanted() if self.registered is not None else Absent.NOT_DEPLOYED
        wanted = known if self.available else Absent.UNAVAILABLE
        return State(wanted, tuple(self.releases.values()), self.given_up)

    def settle(self) -> None:
        for _ in range(STEPS_MAX):
            actions = decide(self.state())
            self.check(actions)
            for action in actions:
                self.act(action)
            self.report()
            if not actions:
                return
        assert decide(self.state()) == [], f"there is nothing left to do after {STEPS_MAX} decisions"

    def report(self) -> None:
        """Store the version that serves in the registry, as the worker's report does."""
        serving = self.state().serving
        if self.registered is None or serving is None or not (serving.ready and self.available):
            return
        if serving.target.version == self.registered.version:
            self.registered.active = serving.target.version

    def act(self, action: Action) -> None:
        match action:
            case Start(target):
                self.started += 1
                self.releases[self.started] = Observed(self.started, target, Role.CANDIDATE, (Phase.INSTALLING,))
            case StartInPlace(number):
                others = [other for other in self.releases.values() if runs(other) and other.number != number]
                assert not others, "no other release runs during a start in place"
                self.turn(number, Role.IN_PLACE, Phase.STARTING)
            case Promote(number):
                self.turn(number, Role.SERVING)
            case Retire(number):
                self.turn(number, Role.RETIRING, Phase.DRAINING)
            case MakeRoom(number, _):
                self.turn(number, Role.LEAVING, Phase.DRAINING)
            case End(number):
                del self.releases[number]
            case FallBack(number):
                self.turn(number, Role.FAILED)
            case GiveUp(version):
                self.given_up = version

    def turn(self, number: int, role: Role, phase: Phase | None = None) -> None:
        release = self.releases[number]
        self.releases[number] = replace(release, role=role, phases=(phase,) if phase else release.phases, waits=False)

    # The invariants of each decision, and of the state between decisions.

    def check(self, actions: list[Action]) -> None:
        state = self.state()
        promoted = [action.number for action in actions if isinstance(action, Promote)]
        assert all(self.releases[number].ready for number in promoted), "a promoted release is ready"
        for action in actions:
            match action:
                case Retire(number):
                    assert state.serving is not None
                    assert number == state.serving.number
                    assert promoted or state.wanted is Absent.NOT_DEPLOYED, (
                        "a release serves until another one is promoted"
                    )
                case MakeRoom(_, successor):
                    assert state.candidate is not None
                    assert state.candidate.waits, "others end only for an installed candidate"
                    assert state.candidate.target.version == successor
                case Start(target):
                    assert isinstance(state.wanted, Deployed)
                    assert target in (state.wanted.newest, state.wanted.active)
                case End(number) | FallBack(number):
                    assert self.releases[number].role not in (Role.SERVING, *ENDING), "running workloads are finished"
                case _:
                    pass
        slow = [action for action in actions if isinstance(action, End | FallBack)]
        after = actions[actions.index(slow[0]) + 1 :] if slow else []
        touched = [action for action in after if isinstance(action, Retire | MakeRoom | Promote | StartInPlace)]
        assert all(self.releases[action.number].role is Role.FAILED for action in slow) or not touched, (
            "no other release is changed after an End, because it takes time and they may end meanwhile"
        )
        if state.wanted is Absent.UNAVAILABLE:
            assert all(isinstance(action, Promote | Retire) for action in actions)

    @invariant()
    def at_most_one_serves_and_one_is_a_candidate(self) -> None:
        roles = [release.role for release in self.releases.values()]
        assert roles.count(Role.SERVING) <= 1
        assert sum(role in CANDIDATES for role in roles) <= 1
        assert roles.count(Role.FAILED) <= 1

    @invariant()
    def a_wanted_version_has_a_release(self) -> None:
        state = self.state()
        if isinstance(state.wanted, Deployed):
            there = [one.target for one in (state.serving, state.candidate, state.failed) if one is not None]
            assert there
            assert state.wanted.newest in there or state.wanted.active in there
        elif state.wanted is Absent.NOT_DEPLOYED:
            assert all(release.role in ENDING for release in self.releases.values())


def runs(release: Observed) -> bool:
    """Return whether the release has a runner, or may have one at any time."""
    match release.role:
        case Role.CANDIDATE:
            return not release.target.in_place
        case Role.FAILED:
            return False
        case _:
            return True


TestWorkerModel: Any = WorkerModel.TestCase
TestWorkerModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
