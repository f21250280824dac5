"""One API as a test calls it over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from tests.waiting import until_blocking

END_S = 120


@dataclass(frozen=True)
class HttpApi:
    """The API at `url`, its endpoint on some listener."""

    url: str

    def submit(self, payload: bytes | Iterable[bytes], content_type: str) -> str:
        """POST, and return the id."""
        reply = requests.post(self.url, data=payload, headers={"Content-Type": content_type}, timeout=60)
        assert reply.status_code == 200, reply.text
        id: str = reply.json()["id"]
        return id

    def end(self, id: str, within_s: float = END_S) -> dict[str, Any]:
        """GET until the workload has ended."""
        answer = until_blocking(lambda: self._ended(id), within_s, shown=lambda: f"{id}: {self._read(id)}")
        assert answer is not None
        return answer

    def _ended(self, id: str) -> dict[str, Any] | None:
        answer = self._read(id)
        return answer if answer.get("status") in ("completed", "failed", "cancelled") else None

    def _read(self, id: str) -> dict[str, Any]:
        """The answer of a GET, empty while a part of the stack that was killed is started again."""
        try:
            answer: dict[str, Any] = requests.get(f"{self.url}/{id}", timeout=60).json()
        except requests.ConnectionError:
            return {}
        return answer

    def run(self, payload: bytes, content_type: str) -> dict[str, Any]:
        """Submit, and wait for the end."""
        return self.end(self.submit(payload, content_type))
