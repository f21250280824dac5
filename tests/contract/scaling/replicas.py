"""Processes of Insula's services, each started by hand as one replica."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from tests.addresses import free_port
from tests.health import is_ready
from tests.waiting import until_blocking

START_S = 60


def start(module: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a service. Its log is discarded."""
    command = [sys.executable, "-m", module]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Stop a service with SIGTERM, also after SIGSTOP. Return its exit code."""
    process.terminate()
    process.send_signal(signal.SIGCONT)
    return process.wait(START_S)


class Results:
    """One replica of results with KEDA's scaler."""

    def __init__(self, stores: Mapping[str, str]) -> None:
        self.scaler = f"127.0.0.1:{free_port()}"
        listens = {"INSULA_LISTEN": f"127.0.0.1:{free_port()}", "INSULA_SCALER_LISTEN": self.scaler}
        self.process = start("insula_results", {**stores, **listens})

    def wait(self) -> None:
        """Return once the scaler reports SERVING."""
        until_blocking(lambda: is_ready(self.scaler), shown=lambda: f"exit code {self.process.poll()} of {self.scaler}")


@contextmanager
def two_results(stores: Mapping[str, str]) -> Generator[tuple[Results, Results]]:
    """Run two replicas of results until the block ends."""
    replicas = Results(stores), Results(stores)
    try:
        for replica in replicas:
            replica.wait()
        yield replicas
    finally:
        for replica in replicas:
            stop(replica.process)
