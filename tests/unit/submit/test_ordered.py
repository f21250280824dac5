"""Ordered runs the steps of a call concurrently, and yields their results in the order of their starts."""

from __future__ import annotations

import asyncio

import pytest

from insula.errors import EncodingInvalid
from insula_submit.ordered import STEPS_MAX, UNREAD_MAX, Ordered


async def after(gate: asyncio.Event, value: int) -> int:
    await gate.wait()
    return value


async def test_results_come_in_the_order_of_the_starts() -> None:
    ordered, gates = Ordered(-1), [asyncio.Event() for _ in range(STEPS_MAX)]

    async def feed() -> None:
        for value, gate in enumerate(gates):
            await ordered.start(after(gate, value))
        for gate in reversed(gates):
            gate.set()
            await asyncio.sleep(0)

    assert [value async for value in ordered.results(feed())] == list(range(STEPS_MAX))


async def test_an_error_of_the_feed_comes_after_the_results() -> None:
    ordered = Ordered(-1)

    async def feed() -> None:
        for value in range(3):
            await ordered.start(asyncio.sleep(0, value))
        raise EncodingInvalid("damaged")

    results = ordered.results(feed())
    assert [await anext(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(EncodingInvalid):
        await anext(results)


async def test_a_step_that_fails_ends_the_call() -> None:
    """A step returns the error of a payload. An exception in a step is a bug. It ends the call and the other steps."""
    ordered = Ordered(-1)

    async def fail() -> int:
        raise ZeroDivisionError

    async def feed() -> None:
        await ordered.start(after(asyncio.Event(), 1))
        await ordered.start(fail())

    with pytest.raises(ExceptionGroup) as caught:
        _ = [value async for value in ordered.results(feed())]
    assert caught.group_contains(ZeroDivisionError)


async def test_no_more_steps_start_than_the_caller_reads() -> None:
    ordered, started = Ordered(-1), list[int]()

    async def step(value: int) -> int:
        started.append(value)
        return value

    async def feed() -> None:
        for value in range(2 * UNREAD_MAX):
            await ordered.start(step(value))

    results = ordered.results(feed())
    assert await anext(results) == 0
    for _ in range(10 * UNREAD_MAX):
        await asyncio.sleep(0)
    assert len(started) == UNREAD_MAX
    assert [value async for value in results] == list(range(1, 2 * UNREAD_MAX))


async def test_a_probe_passes_a_step_that_waits_for_it() -> None:
    """A probe sends an empty result to the caller, and waits until it is taken. It does not wait for earlier steps."""
    ordered = Ordered(-1)

    async def step() -> int:
        await ordered.probe()
        return 7

    async def feed() -> None:
        await ordered.run(step())

    assert [value async for value in ordered.results(feed())] == [-1, 7]


async def test_the_end_of_the_iteration_cancels_feed_and_steps() -> None:
    ordered, ended = Ordered(-1), asyncio.Event()

    async def wait_for_ever() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    async def feed() -> None:
        await ordered.start(asyncio.sleep(0, 1))
        await ordered.run(wait_for_ever())

    results = ordered.results(feed())
    assert await anext(results) == 1
    await results.aclose()
    await ended.wait()
