"""Jobs in a real runner: the arguments of the handler, the answers, and their order."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from insula_submit.admission import INLINE_BYTES_MAX
from insula_worker.attempts.json_object import is_json_object
from insula_worker.runners.messages import Completed, Metric
from insula_worker.runners.process import RunnerLaunch
from tests.contract.runner.conftest import Start, failure, handler, result
from tests.running import job
from tests.waiting import until

ECHO = """
class Handler:
    def __init__(self, config):
        pass
    def handle_async(self, payload, request_id):
        return {"type": type(payload).__name__, "payload": str(payload), "id": request_id}
"""


async def test_result_bytes_are_what_the_dictionary_serialised_to(start: Start) -> None:
    """Invariant I8: large integers, the last bit of a float, Unicode and the order of keys survive."""
    runner = await start(handler("return {'z': 2**63 + 1, 'a': 0.1 + 0.2, 'text': 'Grüße', 'big': 10**30}"))
    outcome = await runner.run(job())
    assert isinstance(outcome, Completed)
    expected = '{"z": 9223372036854775809, "a": 0.30000000000000004, "text": "Grüße", "big": 1%s}' % ("0" * 30)
    assert outcome.result_json == expected.encode()
    assert outcome.handler_s > 0


async def test_integers_of_any_length_survive(start: Start) -> None:
    """Integers of 10,000 digits survive in a payload and in a result. The handler and its children can print them."""
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


async def test_a_payload_in_a_file_arrives_whole(start: Start, tmp_path: Path) -> None:
    """A payload of 50 MB arrives in a file, while small jobs wait behind it."""
    content = b"".join(bytes([number]) * 1_000_000 for number in range(50))
    (tmp_path / "payload").write_bytes(content)
    runner = await start(
        handler("import hashlib", "return {'bytes': len(payload), 'sha256': hashlib.sha256(payload).hexdigest()}")
    )
    small = [job(b"x", "image/png", id=str(number)) for number in range(20)]
    with (tmp_path / "payload").open("rb") as file:
        large = job(file, "application/octet-stream")
        first, *rest = await asyncio.gather(result(runner, large), *(result(runner, task) for task in small))
    assert first == {"bytes": 50_000_000, "sha256": hashlib.sha256(content).hexdigest()}
    assert [answer["bytes"] for answer in rest] == [1] * 20


async def test_the_largest_payload_of_a_message_arrives(start: Start) -> None:
    runner = await start(handler("return {'bytes': len(payload)}"))
    answer = await result(runner, job(b"x" * INLINE_BYTES_MAX, "image/png"))
    assert answer == {"bytes": INLINE_BYTES_MAX}


async def test_jobs_that_have_not_begun_are_taken_back(start: Start, launch: RunnerLaunch) -> None:
    """`take_back` removes the jobs that wait, with payloads in memory or in a file. The running job is answered."""
    runner = await start(
        handler(
            "import pathlib, time",
            "pathlib.Path('begun').touch()",
            "while not pathlib.Path('go').exists(): time.sleep(0.01)",
            "return {'number': payload}",
        )
    )
    first = runner.put(job(b"1"))
    await until((launch.project / "begun").exists)
    for number in range(2, 6):
        _ = runner.put(job(b"%d" % number))
    with (launch.project / "handler.py").open("rb") as file:
        _ = runner.put(job(file))
    assert runner.process.take_back() == [2, 3, 4, 5, 6]
    assert runner.process.take_back() == []
    last = runner.put(job(b"7"))
    (launch.project / "go").touch()
    assert [one.result_json for one in await asyncio.gather(first, last) if isinstance(one, Completed)] == [
        b'{"number": 1}',
        b'{"number": 7}',
    ]


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
    """The hosts are added to the NO_PROXY of the project, and stay there for later jobs."""
    own = {**launch.environment, "NO_PROXY": "own,api-early"}
    runner = await start(
        handler("import os", "return {name: os.environ.get(name) for name in ('NO_PROXY', 'no_proxy')}"),
        replace(launch, environment=own),
    )
    expected = {"NO_PROXY": "own,api-early,api-late", "no_proxy": "api-early,api-late"}
    assert await result(runner, job(), ["api-early", "api-late"]) == expected
    assert await result(runner, job()) == expected
