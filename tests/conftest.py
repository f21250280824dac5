"""Settings and hooks for all tests."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Every run uses the same examples, so that a failure can be reproduced. No deadline: a machine may be slow.
settings.register_profile(
    "insula", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("insula")

# A shell without job control makes background processes ignore SIGINT, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A handler has its own /tmp, so files that a test shares with a handler lie outside of /tmp.
TEMPORARY = Path.home() / ".cache" / "insula-tests"
TEMPORARY.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(TEMPORARY))

for name in ("NO_PROXY", "no_proxy"):  # only pip uses a proxy
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost,127.0.0.0/8"]))

ONE_STACK = (
    "batches",
    "dependencies",
    "edge",
    "examples",
    "faults",
    "fundamentals",
    "hosts",
    "isolation",
    "ledger",
    "operations",
    "rules",
    "seed_document",
    "stack",
    "stores",
)
"""Folders whose files share a stack, or a part of one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run whole folders first, which take longest, so that no session has to wait for another one at the end."""
    items.sort(key=lambda item: item.path.parent.name not in ONE_STACK)


class OneStackOneSession(LoadScopeScheduling):  # type: ignore[misc] # xdist carries no types
    """Schedules all tests of a file in one session, and all tests of a folder in ONE_STACK.

    xdist's own `--dist loadgroup` does not group with pytest 9.2: it writes to an attribute that pytest has removed.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        return str(path.parent if path.parent.name in ONE_STACK else path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Use OneStackOneSession for every value of `--dist`."""
    return OneStackOneSession(config, log)


SECONDS: defaultdict[str, float] = defaultdict(float)
"""The duration of each folder of tests, including fixtures."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add the duration of a test, from this session or another."""
    SECONDS[str(PurePosixPath(report.nodeid.partition("::")[0]).parent)] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the duration of each folder, longest first. Sessions run in parallel, so the sum exceeds the real time."""
    terminalreporter.section("seconds by folder")
    for folder, seconds in sorted(SECONDS.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{seconds:7.1f}  {folder}")
