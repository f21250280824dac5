"""Which poll loops count as stuck (invariant I12). test_alive.py has real workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from insula_worker.attempts import pulse as module
from insula_worker.attempts.pulse import LOOKS_PER_LEASE, STILL_LEASES, Pulse, until_stuck

LEASE_S = 0.02
MINIMUM_S = 2 * LEASE_S
LOOKS = 3 * STILL_LEASES * LOOKS_PER_LEASE


@pytest.fixture(autouse=True)
def minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_S_MIN", MINIMUM_S)


async def looked_at(pulse: Pulse, step: Callable[[], None], *, redis_answers: bool = True) -> str:
    """Do `step` before each look, LOOKS times. Return why the loop is stuck, or an empty text."""
    looks = 0

    async def look(_: float) -> None:
        nonlocal looks
        looks += 1
        step()
        if looks > LOOKS:
            raise asyncio.CancelledError

    async def answers() -> bool:
        return redis_answers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", look)
        try:
            return await until_stuck(pulse, LEASE_S, answers)
        except asyncio.CancelledError:
            return ""


def turns_and(pulse: Pulse, then: Callable[[], None]) -> Callable[[], None]:
    def step() -> None:
        pulse.turned()
        then()

    return step


async def test_a_loop_that_works_or_waits_for_room_is_not_stuck() -> None:
    pulse = Pulse()
    assert not await looked_at(pulse, turns_and(pulse, pulse.worked))
    assert not await looked_at(pulse, pulse.turned)


async def test_a_loop_without_turns_is_stuck() -> None:
    assert "has not turned" in await looked_at(Pulse(), lambda: None)


async def test_a_loop_that_fails_is_stuck_only_if_redis_answers_on_a_new_connection() -> None:
    pulse = Pulse()
    fails = turns_and(pulse, pulse.failed)
    assert not await looked_at(pulse, fails, redis_answers=False)
    assert "new connections to Redis work" in await looked_at(pulse, fails)


@pytest.mark.parametrize("looks", [LOOKS_PER_LEASE, int(LOOKS_PER_LEASE * MINIMUM_S / LEASE_S)])
async def test_a_loop_that_fails_sometimes_is_not_stuck(looks: int) -> None:
    """If the lease is short, calls on old connections may time out one after the other for longer than the lease."""
    pulse, steps = Pulse(), 0

    def step() -> None:
        nonlocal steps
        steps += 1
        pulse.turned()
        if steps % looks == 0:
            pulse.worked()
        pulse.failed()

    assert not await looked_at(pulse, step)
