"""Jobs in a real runner: the arguments of the handler, the answers, and their order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from insula_worker.attempts.json_object import is_json_object
from insula_worker.runners.messages import Completed, Job, Metric
from insula_worker.runners.process import RunnerLaunch
from tests.contract.runner.conftest import Start, failure, handler, job, result

ECHO = """
class Handler:
    def __init__(self, config):
        pass
    def handle_async(self, payload, request_id):
        return {"type": type(payload).__name__, "payload": str(payload), "id": request_id}
"""


async def test_result_bytes_are_what_the_dictionary_serialised_to(start: Start) -> None:
    """Invariant I8: 64-bit integers, big ones, the last bit of a float, unicode and the order of the keys."""
    runner = await start(handler("return {'z': 2**63 + 1, 'a': 0.1 + 0.2, 'text': 'Grüße', 'big': 10**30}"))
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)
    expected = '{"z": 9223372036854775809, "a": 0.30000000000000004, "text": "Grüße", "big": 1%s}' % ("0" * 30)
    assert outcome.result_json == expected.encode()
    assert outcome.handler_s > 0


async def test_integers_of_any_length_survive(start: Start) -> None:
    """In and out, of either sign, and as text in the handler and in its children."""
    runner = await start(
        handler(
            "import subprocess, sys",
            "printed = subprocess.check_output([sys.executable, '-c', 'print(7 ** 20000)'], text=True)",
            "return {'same': payload, 'negative': -payload, 'text': len(str(payload)), 'child': len(printed)}",
        )
    )
    digits = b"9" * 10_000
    outcome = await runner.run(job(digits))
    assert isinstance(outcome, Completed), outcome
    assert outcome.result_json == b'{"same": %s, "negative": -%s, "text": 10000, "child": 16903}' % (digits, digits)
    assert is_json_object(outcome.result_json)


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        ("raise ValueError('no such model')", "HANDLER_ERROR", "ValueError: no such model"),
        ("raise SystemExit(3)", "HANDLER_ERROR", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "HANDLER_ERROR", "KeyboardInterrupt"),
        ("import nowhere", "HANDLER_ERROR", "ModuleNotFoundError: No module named 'nowhere'"),
        (
            "return None",
            "RESULT_INVALID",
            "user response must be json serializable dictionary, got <class 'NoneType'> instead: handle_async",
        ),
        ("return {'a': float('nan')}", "RESULT_INVALID", "user response is not json serializable: "),
        ("return {'a': 'x' * (64 << 20)}", "RESULT_TOO_LARGE", "the result is 67108873 bytes of JSON, the limit is"),
    ],
)
async def test_a_workload_fails_with_its_reason_and_the_runner_lives_on(
    start: Start, line: str, reason: str, message: str
) -> None:
    runner = await start(handler("if payload == 'next': return {}", line))
    failed = await failure(runner, job())
    assert failed.reason == reason
    assert failed.message.startswith(message)
    assert ("in handle_async" in failed.traceback) == (reason == "HANDLER_ERROR")
    assert await result(runner, job(b'"next"')) == {}


async def test_a_payload_that_does_not_decode_fails_its_workload(start: Start) -> None:
    failed = await failure(await start(ECHO), job(b"{", "application/json"))
    text = "the uploaded payload, with content-type application/json, could not be decoded to JSON"
    assert (failed.reason, failed.traceback) == ("PAYLOAD_INVALID", "")
    assert failed.message.startswith(text)


async def test_the_largest_result_passes(start: Start) -> None:
    runner = await start(handler("return {'a': 'x' * ((64 << 20) - 9)}"))
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)
    assert len(outcome.result_json) == 64 << 20


async def test_jobs_given_at_once_are_answered_in_order(start: Start) -> None:
    runner = await start(handler("return {'number': payload}"))
    answers = await asyncio.gather(*(result(runner, job(b"%d" % number, id=str(number))) for number in range(500)))
    assert answers == [{"number": number} for number in range(500)]


async def test_a_large_payload_is_streamed_whole(start: Start) -> None:
    """50 MB from an iterator, between small jobs that do not get in its way."""
    blocks = [bytes([number]) * 1_000_000 for number in range(50)]

    async def stream() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    runner = await start(
        handler("import hashlib", "return {'bytes': len(payload), 'sha256': hashlib.sha256(payload).hexdigest()}")
    )
    large = Job("large", "application/octet-stream", stream(), 50_000_000)
    small = [job(b"x", "image/png", id=str(number)) for number in range(20)]
    first, *rest = await asyncio.gather(result(runner, large), *(result(runner, task) for task in small))
    assert first == {"bytes": 50_000_000, "sha256": hashlib.sha256(b"".join(blocks)).hexdigest()}
    assert [answer["bytes"] for answer in rest] == [1] * 20


async def test_a_payload_that_breaks_off_leaves_the_runner_usable(start: Start) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        raise ConnectionError

    runner = await start(ECHO)
    with pytest.raises(ConnectionError):
        await runner.run(Job("broken", "image/png", broken(), 5_000_000))
    assert (await result(runner, job(b"1")))["payload"] == "1"


@pytest.mark.parametrize("announced_bytes", [0, 99_999, 100_001])
async def test_a_payload_of_another_length_is_refused(start: Start, announced_bytes: int) -> None:
    runner = await start(ECHO)
    with pytest.raises(ValueError, match="bytes of its record"):
        await runner.run(Job("odd", "image/png", b"x" * 100_000, announced_bytes))
    assert (await result(runner, job(b"1")))["payload"] == "1"


async def test_a_cancelled_job_does_not_disturb_the_next(start: Start) -> None:
    """Its late answer is dropped."""
    runner = await start(handler("return {'number': payload}"))
    given_up = asyncio.create_task(runner.run(job(b"1", id="given up")))
    follower = asyncio.create_task(result(runner, job(b"2", id="follower")))
    await asyncio.wait({given_up}, timeout=0)
    given_up.cancel()
    assert await follower == {"number": 2}


async def test_metrics_reach_the_worker(start: Start) -> None:
    metrics: asyncio.Queue[Metric] = asyncio.Queue()
    runner = await start(
        """
        class Handler:
            def __init__(self, config, metrics_client):
                self.metrics = metrics_client
            def handle_async(self):
                self.metrics.increment("seen", 2, tags={"model": "a"})
                try:
                    self.metrics.gauge("cortex_depth", 1)
                except ValueError as error:
                    return {"refused": str(error)}
        """,
        on_metric=metrics.put_nowait,
    )
    assert "reserved" in str(await result(runner, job()))
    assert await metrics.get() == Metric("increment", "seen", 2.0, {"model": "a"})


async def test_metrics_nobody_asked_for_are_dropped(start: Start) -> None:
    runner = await start(
        """
        class Handler:
            def __init__(self, config, metrics_client):
                metrics_client.gauge("depth", 1)
            def handle_async(self):
                return {}
        """
    )
    assert await result(runner, job()) == {}


async def test_a_job_names_hosts_that_are_reached_without_a_proxy(start: Start, launch: RunnerLaunch) -> None:
    """They are added to the project's own NO_PROXY, and stay for later jobs."""
    own = {**launch.environment, "NO_PROXY": "own,api-early"}
    runner = await start(
        handler("import os", "return {name: os.environ.get(name) for name in ('NO_PROXY', 'no_proxy')}"),
        replace(launch, environment=own),
    )
    expected = {"NO_PROXY": "own,api-early,api-late", "no_proxy": "api-early,api-late"}
    assert await result(runner, replace(job(), direct_hosts=("api-early", "api-late"))) == expected
    assert await result(runner, job()) == expected
