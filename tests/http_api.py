"""One API as a test calls it over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

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
        deadline = time.monotonic() + within_s
        while True:
            try:
                reply = requests.get(f"{self.url}/{id}", timeout=60)
            except requests.ConnectionError:  # a part of the stack was killed, and is started again
                assert time.monotonic() < deadline, f"{id} did not end within {within_s} s: nobody answers"
                continue
            answer: dict[str, Any] = reply.json()
            if reply.status_code == 200 and answer["status"] in ("completed", "failed", "cancelled"):
                return answer
            assert time.monotonic() < deadline, (
                f"{id} did not end within {within_s} s: {reply.status_code} {reply.text}"
            )

    def run(self, payload: bytes, content_type: str) -> dict[str, Any]:
        """Submit, and wait for the end."""
        return self.end(self.submit(payload, content_type))
