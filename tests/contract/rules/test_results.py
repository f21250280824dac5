"""Rules P4, P5 and P7: refused results, retention, and the deletion of payloads at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from redis import Redis

from insula.client import Client
from insula.keys import ApiKeys
from insula_local.seaweedfs.storage import BUCKET
from tests.http_api import HttpApi
from tests.stack import Stack
from tests.waiting import until_blocking

IMPORTS = "import datetime, decimal, math"
NO_DICTIONARY = "user response must be json serializable dictionary, got {} instead"
NO_JSON = "user response is not json serializable"
EIGHT_DAYS_MS = 8 * 24 * 3600 * 1000
SUBMITTED_MS = 3  # the word of an ended record, see end_workload in library.lua


def returning(expression: str) -> bytes:
    """Return a payload that makes the handler of `rough` return the value of this Python expression."""
    return f"{IMPORTS}\nresult = {expression}".encode()


def failure(answer: dict[str, Any]) -> str:
    assert (answer["status"], answer["error"]["reason"]) == ("failed", "RESULT_INVALID"), answer
    assert "result" not in answer
    message: str = answer["error"]["message"]
    return message


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        ("None", "<class 'NoneType'>"),
        ("[{}]", "<class 'list'>"),
        ("'{}'", "<class 'str'>"),
        ("b'{}'", "<class 'bytes'>"),
        ("1", "<class 'int'>"),
        ("0.5", "<class 'float'>"),
        ("True", "<class 'bool'>"),
        ("({}, {})", "<class 'tuple'>"),
        ("(each for each in [])", "<class 'generator'>"),
        ("datetime.date(2021, 1, 19)", "<class 'datetime.date'>"),
    ],
)
def test_p4_anything_but_a_dictionary_fails_with_cortex_text(
    api: Callable[[str], HttpApi], returned: str, kind: str
) -> None:
    message = failure(api("rough").run(returning(returned), "text/plain"))
    assert message.startswith(NO_DICTIONARY.format(kind) + ": handle_async returned ")
    assert "; it must return a dict" in message


@pytest.mark.parametrize(
    "returned",
    [
        "{'a': {1, 2}}",
        "{'a': b'bytes'}",
        "{'a': [object()]}",
        "{'a': datetime.datetime(2021, 1, 19)}",
        "{'a': decimal.Decimal('0.1')}",
        "{('a', 1): 1}",
        "{'a': math.nan}",
        "{'a': [math.inf]}",
        "{'a': -math.inf}",
    ],
)
def test_p4_a_dictionary_that_is_no_json_fails_with_cortex_text(api: Callable[[str], HttpApi], returned: str) -> None:
    """NaN and infinity are refused too, because JSON has no form for them."""
    message = failure(api("rough").run(returning(returned), "text/plain"))
    assert message.startswith(NO_JSON)
    assert len(message) > len(NO_JSON) + 10, "and it says what is wrong"


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("{}", "{}"),
        ("{'a': (1, 2)}", '{"a": [1, 2]}'),
        ("{1: 'one', None: 0, True: 1.0}", '{"1": 1.0, "null": 0}'),
        ("{'tiny': 5e-324, 'minus': -0.0}", '{"tiny": 5e-324, "minus": -0.0}'),
        ("{'z': 1, 'a': [], '': None}", '{"z": 1, "a": [], "": null}'),
    ],
)
def test_p6_results_read_as_python_writes_them(api: Callable[[str], HttpApi], returned: str, expected: str) -> None:
    rough = api("rough")
    id = rough.submit(returning(returned), "text/plain")
    rough.end(id)
    assert f'"result": {expected}, "timestamp"' in requests.get(f"{rough.url}/{id}", timeout=10).text


def test_p6_integers_of_any_length_survive(echo: HttpApi, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 digits survive in a payload and in a result. insula.Client reads them although Python's limit is 4,300."""
    digits = "7" * 10_000
    id = echo.submit(digits.encode(), "application/json")
    with Client(stack.public) as client:
        by_http = client.wait("echo", id, timeout=60)
        assert f'"payload": {digits}}}'.encode() in (by_http.result_json or b"")
        number = (10**10_000 - 1) // 9 * 7
        assert by_http.result == {"type": "int", "payload": number}
        assert client.run("echo", {"number": number}) == {"type": "dict", "payload": {"number": number}}
    assert sys.get_int_max_str_digits() == 4300
    monkeypatch.chdir(stack.info["data"])
    command = [sys.executable, "-m", "insula.cli.main", "submit", "echo", "--json", digits, "--wait"]
    done = subprocess.run([*command, "--url", stack.public], capture_output=True, text=True, timeout=60, check=True)
    assert digits in done.stdout


FORGING = """
import gc, sys
from insula_runner.channel import Channel
[channel] = [found for found in gc.get_objects() if isinstance(found, Channel)]
frame = sys._getframe()
while "job" not in frame.f_locals:
    frame = frame.f_back
answer = {{"type": "result", "handler_s": 0.0, "job": frame.f_locals["job"].number}}
channel.send({{**answer, **{header!r}}}, {body!r})
"""


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b"{}{}", b'{"a": NaN}', b'{"a": "\\xff"}', b'{"a": "' + b"x" * 100_000 + b"'}"],
    ids=lambda body: repr(body[:16]),
)
def test_p4_a_handler_that_answers_for_its_runner_stores_nothing_but_an_object(
    api: Callable[[str], HttpApi], body: bytes
) -> None:
    """User code shares the runner's process, so it can write a false answer to the socket to the worker."""
    answer = api("rough").run(FORGING.format(header={}, body=body).encode(), "text/plain")
    assert failure(answer) == NO_DICTIONARY.format("bytes that are not a JSON object")


@pytest.mark.parametrize(
    "header",
    [{"handler_s": float("nan")}, {"handler_s": -1}, {"type": "failure", "reason": "MADE UP"}],
    ids=repr,
)
def test_what_is_no_answer_ends_the_runner(api: Callable[[str], HttpApi], header: dict[str, object]) -> None:
    """A message on the runner's socket that is not a valid answer ends the runner. The next workload completes."""
    source = FORGING.format(header=header, body=b'{"message": "", "traceback": ""}').replace("nan", 'float("nan")')
    answer = api("rough").run(source.encode(), "text/plain")
    assert (answer["status"], answer["error"]["reason"]) == ("failed", "WORKER_LOST")
    assert api("rough").run(b"", "text/plain")["status"] == "completed"


def test_p5_after_7_days_a_result_is_gone(stack: Stack, echo: HttpApi) -> None:
    """The test moves the workload's submission and end 8 days back in Redis. Then its id is unknown."""
    id = echo.run(b"{}", "application/json")["id"]
    bucket, field = ApiKeys("echo").ended_bucket(id)
    with Redis.from_url(stack.info["redis"]) as redis:
        words = cast("bytes", redis.hget(bucket, field)).split(b" ")
        words[SUBMITTED_MS] = b"%d" % (int(words[SUBMITTED_MS]) - EIGHT_DAYS_MS)
        redis.hset(bucket, field, b" ".join(words))
    assert requests.get(f"{echo.url}/{id}", timeout=10).status_code == 404


def objects(stack: Stack, api: str) -> list[str]:
    """Return the keys of the objects in S3 that belong to the API's workloads."""
    listed = stack.s3().list_objects_v2(Bucket=BUCKET, Prefix=f"{api}/").get("Contents", [])
    return [found.get("Key", "") for found in listed]


def test_p7_a_payload_is_deleted_once_its_workload_ends(
    stack: Stack, api: Callable[[str], HttpApi], tmp_path: Path
) -> None:
    """One payload is in S3, and the other one is in Redis. Both are deleted."""
    gated, gate = api("gated"), tmp_path / "gate"
    until_blocking(lambda: objects(stack, "gated") == [])  # none of a test before
    ids = [
        gated.submit(json.dumps({"gate": str(gate), "secret": "s3cret" * times}).encode(), "application/json")
        for times in (10_000, 1)
    ]
    stored = objects(stack, "gated")
    gate.touch()
    assert stored == [f"gated/{ids[0]}/payload"]
    assert [gated.end(id)["status"] for id in ids] == ["completed", "completed"]
    until_blocking(lambda: objects(stack, "gated") == [])
    with Redis.from_url(stack.info["redis"]) as redis:
        assert redis.xlen(ApiKeys("gated").queue) == 0
        records = [cast("bytes", redis.hget(*ApiKeys("gated").ended_bucket(id))) for id in ids]
        assert not redis.exists(*(ApiKeys("gated").workload(id) for id in ids))
    assert [record for record in records if b"s3cret" in record] == []
