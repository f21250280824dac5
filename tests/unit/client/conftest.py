from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from insula.client import AsyncClient, Client, flows
from tests.unit.client.scripted import Script, serving_on_a_thread


class Twin:
    """Calls the sync or the async client in the same way. Results of an iterator become a list."""

    def __init__(self, kind: str, url: str) -> None:
        self._kind, self._url = kind, url

    def __call__(self, method: str, *args: Any, **named: Any) -> Any:
        return (
            self._sync(method, *args, **named)
            if self._kind == "sync"
            else asyncio.run(self._async(method, *args, **named))
        )

    def _sync(self, method: str, *args: Any, **named: Any) -> Any:
        with Client(self._url) as client:
            answer: Any = getattr(client, method)(*args, **named)
            return list[Any](answer) if hasattr(answer, "__next__") else answer

    async def _async(self, method: str, *args: Any, **named: Any) -> Any:
        async with AsyncClient(self._url) as client:
            answer: Any = getattr(client, method)(*args, **named)
            return [each async for each in answer] if hasattr(answer, "__anext__") else await answer


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between retries of a call are short."""
    monkeypatch.setattr(flows, "PAUSE_MIN_S", 0.01)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, script: Script) -> Iterator[Twin]:
    with serving_on_a_thread(script) as url:
        yield Twin(request.param, url)
