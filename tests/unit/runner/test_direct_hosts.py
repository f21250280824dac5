"""A job names hosts that the handler reaches without a proxy. They are added to NO_PROXY and stay there."""

from __future__ import annotations

import threading
from collections import UserDict
from contextlib import suppress
from typing import Any

from insula_runner.job_loop import Answers
from insula_runner.job_source import Job

READ_S = 0.2
"""How long a thread that has read the variable waits until another thread has read it too."""


class ReadTogether(UserDict[str, str]):
    """An environment in which two threads read a variable before either writes it, which provokes a lost update."""

    def __init__(self) -> None:
        super().__init__()
        self._readers = threading.Barrier(2)

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        with suppress(threading.BrokenBarrierError):
            self._readers.wait(READ_S)
        return value


def test_two_threads_lose_no_host() -> None:
    environment = ReadTogether()
    channel: Any = None
    answers = Answers(channel, dict, (), environment)
    jobs = [Job(number, "id", "trace", "text/plain", b"", [f"api-{number}"]) for number in (1, 2)]
    threads = [threading.Thread(target=answers.begin, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("NO_PROXY", "no_proxy"):
        assert sorted(environment.data[name].split(",")) == ["api-1", "api-2"]
