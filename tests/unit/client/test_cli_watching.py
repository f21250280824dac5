"""The table of `insula get --watch`."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from insula.cli.screen.watching import Rates, short, table
from insula.v1.api_service_pb2 import Api, WorkloadCounts
from insula.v1.worker_service_pb2 import Worker


def api(name: str, **counts: int) -> Api:
    worker = Worker(name="w", version="1", phase="ready")
    return Api(name=name, version="1", state="ready", workers=[worker], workloads=WorkloadCounts(**counts))


def shown(*apis: Api, columns: int) -> list[str]:
    console = Console(width=columns, file=io.StringIO(), legacy_windows=False)
    with console.capture() as captured:
        console.print(table(apis, Rates(), columns))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_table_fits_fifty_columns() -> None:
    busy = api("a-very-long-name-of-an-api-that-goes-on-so-on", in_queue=12_345_678, in_progress=1024, failed=999)
    lines = shown(busy, api("b", completed=3), columns=50)
    assert lines[0].split() == ["api", "state", "queued", "running", "failed", "rate"]
    assert lines[1].split()[1:] == ["ready", "12.3M", "1.0k", "999", "0.0/s"]
    assert lines[2].split() == ["b", "ready", "0", "0", "0", "0.0/s"]
    assert max(map(len, lines)) <= 50
    assert len(lines) == 3


def test_a_wide_terminal_shows_whole_names() -> None:
    name = "a-very-long-name-of-an-api-that-goes-on-so"
    assert shown(api(name), columns=100)[1].startswith(f"{name} ready")


def test_the_reason_of_a_failing_api_has_its_own_row() -> None:
    broken = api("broken")
    broken.state = broken.workers[0].phase = "failing"
    broken.workers[0].reason = "No module named nothing\n" + "x" * 100
    lines = shown(broken, columns=50)
    assert lines[2] == "broken is failing: No module named nothing"
    assert len(lines) == 3


def test_the_rate_counts_all_ends_between_the_last_reads() -> None:
    rates = Rates()
    assert rates.of(api("a", completed=100), 10.0) == 0
    assert rates.of(api("a", completed=110, failed=6, cancelled=4), 12.0) == 10
    assert rates.of(api("a", completed=0), 14.0) == 0, "forgotten records end nothing"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (12_345, "12.3k"),
        (999_949, "999.9k"),
        (999_950, "1.0M"),
        (10**13, "10000.0G"),
    ],
)
def test_large_counts_are_abbreviated(count: int, text: str) -> None:
    assert short(count) == text
