"""Recorded numbers of workloads, replayed through models of Cortex' autoscaler, and of KEDA with the HPA.

The HPA has the ScaledObject of Insula. Cortex decides every 10 s, KEDA polls every 10 s, the HPA decides every 15 s.
A trace has the workloads in flight every 2 s, and both autoscalers get their average over the window.
docs/autoscaling.md explains the differences and has the numbers of this replay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from insula.kubernetes.scaled_object import scaled_object
from insula.project import ApiSpec
from insula.project.configuration.spec import Autoscaling, Handler
from tests.autoscalers import Cortex, Hpa
from tests.unit.house.tree import ROOT

PAGE = (ROOT / "docs/autoscaling.md").read_text(encoding="utf-8")
TRACES = Path(__file__).parent / "traces"
EVERY_S, TICK_S, SYNC_S, MINUTE = 2, 10, 15, 6
"""EVERY_S: the interval of a trace. TICK_S: Cortex' interval. SYNC_S: the HPA's. MINUTE: 6 ticks of Cortex."""

DEFAULTS = Autoscaling(init_replicas=1)
QUICK = replace(
    DEFAULTS,
    min_replicas=0,
    init_replicas=0,
    target_replica_concurrency=2.5,
    window=timedelta(seconds=20),
    upscale_stabilization_period=timedelta(0),
    downscale_stabilization_period=timedelta(seconds=60),
    max_upscale_factor=2.0,
    max_downscale_factor=0.5,
)


def trace(name: str) -> list[int]:
    """Return a trace: the number of workloads in flight, every 2 s."""
    _, numbers = (TRACES / f"{name}.txt").read_text().splitlines()
    return [int(number) for number in numbers.split()]


def behaviour_of(scaling: Autoscaling, *, tolerance: bool) -> dict[str, object]:
    spec = ApiSpec("scaled", "AsyncAPI", Handler("python", "handler.py"), autoscaling=scaling)
    rendered = scaled_object(spec, deployment="scaled", labels={}, scaler_address="x:1", tolerance=tolerance)
    found: dict[str, object] = rendered["spec"]
    return found


class Decision(NamedTuple):
    """A decision of the HPA: its replicas before and after.

    `recommended` is the number that Cortex would want without its limits on the size and time of a step.
    """

    at_s: float
    before: int
    after: int
    recommended: int


@dataclass
class Replay:
    """The replicas of Cortex and of the HPA at each tick of Cortex, and all decisions of the HPA."""

    scaling: Autoscaling
    cortex: list[int] = field(default_factory=list[int])
    hpa: list[int] = field(default_factory=list[int])
    decisions: list[Decision] = field(default_factory=list[Decision])

    def replicas_at(self, at_s: float) -> int:
        """Return the HPA's replicas after its last decision before `at_s`, or at that time."""
        return next((each.after for each in reversed(self.decisions) if each.at_s <= at_s), self.decisions[0].before)

    def recommended(self, end_s: float, period: timedelta) -> list[int]:
        """Return `recommended` of all decisions in the period before `end_s`."""
        start_s = end_s - period.total_seconds()
        return [each.recommended for each in self.decisions if start_s < each.at_s <= end_s]

    def differences(self) -> list[int]:
        """Return, for each tick, how many replicas more than Cortex the HPA has."""
        return [hpa - cortex for cortex, hpa in zip(self.cortex, self.hpa, strict=True)]

    def outside(self, ticks: int) -> list[int]:
        """Return, for each tick, by how many replicas the HPA is above or below all numbers of Cortex.

        The numbers from `ticks` before to `ticks` after are compared.
        """
        far: list[int] = []
        for at, count in enumerate(self.hpa):
            near = self.cortex[max(0, at - ticks) : at + ticks + 1]
            far.append(max(count - max(near), min(near) - count, 0))
        return far


def replay(in_flight: list[int], scaling: Autoscaling, *, tolerance: bool = True) -> Replay:
    cortex = Cortex(scaling, scaling.min_replicas)
    hpa = Hpa(behaviour_of(scaling, tolerance=tolerance), scaling.min_replicas)
    samples, found = int(scaling.window.total_seconds()) // EVERY_S, Replay(scaling)
    for number, now in enumerate(in_flight):
        now_s, window = number * EVERY_S, in_flight[max(0, number + 1 - samples) : number + 1]
        average = sum(window) / len(window)
        if now and not in_flight[max(0, number - 1)]:
            hpa.poll(now_s, active=True)  # pushed
        if now_s % SYNC_S < EVERY_S:
            before, target = hpa.replicas, scaling.target
            after = hpa.sync(now_s, average, target)
            within = abs(average / target - before) <= before * (scaling.upscale_tolerance if tolerance else 0.1)
            found.decisions.append(Decision(now_s, before, after, before if within else math.ceil(average / target)))
        if now_s % TICK_S == 0:
            hpa.poll(now_s, active=now > 0)
            found.cortex.append(cortex.decide(now_s, average))
            found.hpa.append(hpa.replicas)
    return found


CASES = {
    f"{name}, {kind}": replay(trace(name), scaling, tolerance=tolerance)
    for name in sorted(path.stem for path in TRACES.glob("*.txt"))
    for kind, scaling, tolerance in (("default", DEFAULTS, True), ("10 %", DEFAULTS, False), ("quick", QUICK, True))
}


every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_case
def test_the_steps_up_are_those_that_cortex_allows(case: Replay) -> None:
    """In a stabilization period and a tick, replicas grow by the upscale factor at most.

    No step exceeds the lowest recommendation of the period.
    """
    period, factor = case.scaling.upscale_stabilization_period, case.scaling.max_upscale_factor
    for at_s, before, after, recommended in case.decisions:
        if 0 < before < after:
            start = case.replicas_at(at_s - period.total_seconds() - TICK_S) or 1  # KEDA made the first one
            assert after <= max(start + 1, math.ceil(start * factor))
            assert after <= min(case.recommended(at_s, period), default=recommended)


@every_case
def test_the_steps_down_are_those_that_cortex_allows_or_one_replica_larger(case: Replay) -> None:
    """In a stabilization period and a tick, replicas shrink by the downscale factor at most.

    The HPA rounds the remaining replicas down, so its step may be larger by one.
    """
    period, factor = case.scaling.downscale_stabilization_period, case.scaling.max_downscale_factor
    for at_s, before, after, recommended in case.decisions:
        if after < before:
            start = case.replicas_at(at_s - period.total_seconds() - TICK_S)
            assert after >= min(start - 1, math.ceil(start * factor) - 1)
            assert after >= min(before, max(case.recommended(at_s, period), default=recommended))


@every_case
def test_the_hpa_moves_within_a_sync_of_the_time_at_which_cortex_would(case: Replay) -> None:
    """The HPA changes its replicas if all recommendations are higher, or all lower, for long enough.

    Long enough is a stabilization period, a tick of Cortex and an interval of the HPA.
    """
    scaling, moved_s = case.scaling, 0.0
    for at_s, before, after, _ in case.decisions:
        if before != after or before == 0:
            moved_s = at_s
        for period, up in (
            (scaling.upscale_stabilization_period, True),
            (scaling.downscale_stabilization_period, False),
        ):
            wait = period + timedelta(seconds=TICK_S + SYNC_S)
            stuck = [each > before if up else 1 <= each < before for each in case.recommended(at_s, wait)]
            assert at_s - moved_s <= wait.total_seconds() or not all(stuck)


@every_case
def test_the_replicas_stay_close(case: Replay) -> None:
    """The HPA is at most 3 replicas away from what Cortex has within a minute. The sums differ by a quarter at most."""
    cortex, hpa = sum(case.cortex), sum(case.hpa)
    assert max(case.outside(MINUTE)) <= 3
    assert abs(hpa - cortex) <= cortex / 4


def table() -> str:
    """Return the table of docs/autoscaling.md."""
    rows = ["| queue, settings | most replicas | on average | the HPA minus Cortex | outside |", f"|{'---|' * 5}"]
    for name, case in CASES.items():
        far, mean = case.differences(), [sum(counts) / len(counts) for counts in (case.cortex, case.hpa)]
        rows.append(
            f"| {name} | {max(case.cortex)} and {max(case.hpa)} | {mean[0]:.1f} and {mean[1]:.1f} "
            f"| {min(far)} to {max(far)} | {max(case.outside(MINUTE))} |"
        )
    return "\n".join(rows)


def test_the_page_has_the_numbers_of_the_replay() -> None:
    assert table() in PAGE, f"put this table into docs/autoscaling.md:\n{table()}"
