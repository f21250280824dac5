"""Envoy is killed or stops while handlers and workers use S3."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contract.local.test_refusals import write_project
from tests.contract.local.test_up import first_line, started
from tests.http_api import HttpApi
from tests.stack import Stack, running_stack
from tests.waiting import until

MIB = 2**20
KILLS = 3
STORES_AT_ITS_END = """
import boto3, time

class Handler:
    def __init__(self, config):
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket="kept")

    def handle_async(self, payload):
        self.s3.put_object(Bucket="kept", Key="begun", Body=b"")
        while True:  # until the test stores "closed": the public listeners are closed then
            try:
                self.s3.head_object(Bucket="kept", Key="closed")
                break
            except self.s3.exceptions.ClientError:
                time.sleep(0.05)
        self.s3.put_object(Bucket="kept", Key="end", Body=payload)
        return {"stored": True}
"""


@pytest.mark.slow
def test_kill_9_of_envoy_loses_no_result_of_1_mib(stack: Stack, api: HttpApi) -> None:
    """Workers do not use Envoy to reach S3, so each result is stored in the first attempt."""
    result = {"text": "x" * MIB}
    ids = [api.submit(json.dumps({"return": result}).encode(), "application/json") for _ in range(8)]
    killed = 0
    while killed < KILLS:
        for pid in stack.processes("envoy"):
            with suppress(ProcessLookupError):  # the process has ended since
                os.kill(pid, signal.SIGKILL)
                killed += 1
    for id in ids:
        assert api.end(id)["result"] == result
    assert attempts(stack, "probe", ids) == dict.fromkeys(ids, 1)


@pytest.mark.slow
async def test_a_stop_closes_the_listeners_of_callers_first_and_s3_last(tmp_path: Path) -> None:
    """A handler that still runs while the stack stops can store its objects."""
    entry = "- {name: api, kind: AsyncAPI, handler: {type: python, path: handler.py}}\n"
    project = write_project(tmp_path / "project", entry, STORES_AT_ITS_END)
    async with started(project, tmp_path / "data") as process:
        stack = await first_line(process)
        s3 = stack.s3()
        id = HttpApi(f"{stack.public}/api").submit(b"made", "text/plain")
        await until(lambda: "begun" in str(s3.list_objects_v2(Bucket="kept").get("Contents")))
        process.send_signal(signal.SIGTERM)
        await until(lambda: not listens(stack.public) and not listens(stack.internal))
        s3.put_object(Bucket="kept", Key="closed", Body=b"")
        await process.wait()
    async with running_stack([project], data=tmp_path / "data") as stack:
        assert HttpApi(f"{stack.public}/api").end(id)["result"] == {"stored": True}
        assert stack.s3().get_object(Bucket="kept", Key="end")["Body"].read() == b"made"
        assert attempts(stack, "api", [id]) == {id: 1}


def attempts(stack: Stack, api: str, ids: Collection[str]) -> dict[str, int]:
    """Return the number of attempts of each workload."""
    return dict(Counter(id for id, status in stack.updates(api) if status == "in_progress" and id in ids))


def listens(url: str) -> bool:
    """Whether the host and port of the URL accept a connection."""
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname, place.port), 1).close()
    except OSError:
        return False
    return True
