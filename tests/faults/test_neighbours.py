"""What waits behind a workload that kills its runner is not blamed for it (I5)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.http_api import HttpApi
from tests.stack import running_stack

PROBE = Path(__file__).parent.parent / "projects" / "probe"


@pytest.mark.slow
async def test_i5_poison_its_neighbours_complete(tmp_path: Path) -> None:
    """The handler is quick, so the worker claims ahead: several wait at the runner that dies, each time it does."""
    async with running_stack([PROBE], data=tmp_path / "data") as stack:
        api = HttpApi(f"{stack.public}/probe")

        def submit(**payload: object) -> str:
            return api.submit(json.dumps(payload).encode(), "application/json")

        for _ in range(20):
            api.end(submit())
        submit(sleep_s=0.5)  # so that the others queue up
        deadly, harmless = list[str](), list[str]()
        for _ in range(3):
            deadly.append(submit(exit=3))
            harmless += [submit(sleep_s=0.005) for _ in range(4)]
        assert [api.end(id)["status"] for id in harmless] == ["completed"] * len(harmless)
        assert [api.end(id)["error"]["reason"] for id in deadly] == ["WORKER_LOST"] * len(deadly)
