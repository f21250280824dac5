"""Calls of one API over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from tests.waiting import until_blocking

END_S = 120


@dataclass(frozen=True)
class HttpApi:
    """The API whose endpoint is `url`."""

    url: str

    def submit(self, payload: bytes | Iterable[bytes], content_type: str) -> str:
        """Submit a workload. Return its id."""
        reply = requests.post(self.url, data=payload, headers={"Content-Type": content_type}, timeout=60)
        assert reply.status_code == 200, reply.text
        id: str = reply.json()["id"]
        return id

    def end(self, id: str, within_s: float = END_S) -> dict[str, Any]:
        """Wait until the workload has ended. Return its record."""
        answer = until_blocking(lambda: self._ended(id), within_s, shown=lambda: f"{id}: {self._read(id)}")
        assert answer is not None
        return answer

    def _ended(self, id: str) -> dict[str, Any] | None:
        answer = self._read(id)
        return answer if answer.get("status") in ("completed", "failed", "cancelled") else None

    def _read(self, id: str) -> dict[str, Any]:
        """Return the workload's record. Empty if the connection fails, as while a killed part restarts."""
        try:
            answer: dict[str, Any] = requests.get(f"{self.url}/{id}", timeout=60).json()
        except requests.ConnectionError:
            return {}
        return answer

    def status(self, id: str) -> str:
        """Return the workload's status. Empty if the connection fails."""
        return str(self._read(id).get("status", ""))

    def run(self, payload: bytes, content_type: str) -> dict[str, Any]:
        """Submit a workload and wait until it has ended. Return its record."""
        return self.end(self.submit(payload, content_type))
