"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# The same examples in every run: one that fails does so for everybody. No time limit: a machine may pause.
settings.register_profile(
    "insula", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
settings.load_profile("insula")

# A shell without job control starts what runs in the background deaf to it, and all that tests start would be, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A handler has a /tmp of its own: what a test shares with one lies elsewhere.
TEMPORARY = Path.home() / ".cache" / "insula-tests"
TEMPORARY.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(TEMPORARY))

for name in ("NO_PROXY", "no_proxy"):  # a proxy is for pip
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost,127.0.0.0/8"]))

ONE_STACK = (
    "dependencies",
    "edge",
    "examples",
    "faults",
    "fundamentals",
    "isolation",
    "ledger",
    "rules",
    "seed_document",
    "stack",
)
"""Folders whose files share a stack, or a part of one, that starts once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file, so that no session is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_kills.py")


class OneStackOneSession(LoadScopeScheduling):  # type: ignore[misc] # xdist carries no types
    """Gives whole files to a session, and whole folders where these share a stack.

    xdist's own `--dist loadgroup` marks tests in an attribute that pytest 9.2 no longer has, so it spreads them singly.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        return str(path.parent if path.parent.name in ONE_STACK else path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Spread tests over sessions by OneStackOneSession, whatever `--dist` says."""
    return OneStackOneSession(config, log)


SECONDS: defaultdict[str, float] = defaultdict(float)
"""What each folder of tests took, fixtures included."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up, wherever the test ran."""
    SECONDS[str(PurePosixPath(report.nodeid.partition("::")[0]).parent)] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the folders by their time; sessions side by side share it."""
    terminalreporter.section("seconds by folder")
    for folder, seconds in sorted(SECONDS.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{seconds:7.1f}  {folder}")
