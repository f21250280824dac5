"""A stack can use the data directory of an earlier version, and completes the workloads in it."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.contract.local.test_refusals import write_project
from tests.http_api import HttpApi
from tests.stack import running_stack

RECORDED = Path(__file__).with_name("data-26f3d26.tar.xz")
"""Written by a stack of commit 26f3d26 that was then killed.

It has two ended workloads, a running one and two queued ones. S3 has objects of two of them.
"""
ENDED = {"01a21842-69ef-7ad5-9578-a6f86a1a68ec": 100_000, "01a21842-6b64-7ca5-b289-5dd1aa1de268": 5}
RUNNING = "01a21842-6e30-7210-b4d1-034206374598"
QUEUED = {"01a21842-6e5e-7b86-8316-26cb25a8f8ed": 10, "01a21842-6e69-7f9c-9ff8-5c46fe63c797": 50_000}
RETENTION_S = 100 * 365 * 24 * 3600
"""The stack that wrote the data had it too, so that the workloads never expire."""
HANDLER = "class Handler:\n    def handle_async(self, payload):\n        return {'bytes': len(payload)}\n"


async def test_a_data_directory_of_26f3d26_opens_and_finishes_its_workloads(tmp_path: Path) -> None:
    """Results in S3 can be read. The running and the queued workloads complete.

    The API `kept` is not on the command line. It is served from its bundle.
    """
    with tarfile.open(RECORDED) as archive:
        archive.extractall(tmp_path, filter="data")
    entry = "- {name: waiting, kind: AsyncAPI, handler: {type: python, path: handler.py}}\n"
    project = write_project(tmp_path / "project", entry, HANDLER)
    async with running_stack([project], data=tmp_path / "data", INSULA_RETENTION_S=str(RETENTION_S)) as stack:
        kept, waiting = HttpApi(f"{stack.public}/kept"), HttpApi(f"{stack.public}/waiting")
        for id, payload_bytes in ENDED.items():
            assert kept.end(id)["result"] == {"bytes": payload_bytes, "text": "kept " * 2000}
        for id, payload_bytes in {RUNNING: 100_000, **QUEUED}.items():
            assert waiting.end(id)["result"] == {"bytes": payload_bytes}
        assert kept.run(b"hello", "text/plain")["result"]["bytes"] == 5
        assert stack.s3_env["AWS_SECRET_ACCESS_KEY"] == "recorded-for-a-test-too"
