"""The page of a comparison: medians, ranges and ratios, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.compare.rounds import RATES, Row

METRICS: Final[Mapping[str, bool]] = {
    "submit req/s": True,
    "submit p50 ms": False,
    "submit p99 ms": False,
    "drain jobs/s": True,
    "fetch req/s": True,
    "end to end jobs/s": True,
    "closed loop p50 ms": False,
    "closed loop p99 ms": False,
    **{f"open loop {rate}/s {share} ms": False for rate in RATES for share in ("p50", "p99")},
    "CPU µs/job": False,
    "memory MB": False,
}
"""The metrics of the table, and whether a higher value is better."""
OURS: Final = "Insula"
ON_NODE: Final = "BullMQ"
"""The peer on Node. It has a ratio of its own, because it takes a fraction of the CPU time of any peer on Python."""


def with_sums(rows: Iterable[Row]) -> list[Row]:
    """Return the rows, with the memory of all processes of a system as one more row."""
    found = list(rows)
    sums: dict[tuple[str, int], float] = {}
    for row in found:
        if row.metric.startswith("memory "):
            sums[row.system, row.round] = sums.get((row.system, row.round), 0.0) + row.value
    return found + [Row(system, number, "memory MB", value, 0) for (system, number), value in sums.items()]


def values(rows: Iterable[Row], system: str, metric: str) -> list[float]:
    """Return the values of a metric, one for each round."""
    return [row.value for row in rows if (row.system, row.metric) == (system, metric)]


def table(rows: Sequence[Row], systems: Sequence[str]) -> str:
    """Return the table in Markdown: medians of all rounds, ranges in brackets, and our ratios to the peers."""
    rows = with_sums(rows)
    lines = [
        f"| | {' | '.join(systems)} | ratio to the best on Python | ratio to {ON_NODE} |",
        f"|---|{'---|' * (len(systems) + 2)}",
    ]
    for metric, higher in METRICS.items():
        cells = [_cell(values(rows, system, metric)) for system in systems]
        python, node = (_ratio(rows, peers, metric, higher=higher) for peers in (_on_python(systems), [ON_NODE]))
        best = f"{python[0]:.2f} of {python[1]}" if python else ""
        lines.append(f"| {metric} | {' | '.join(cells)} | {best} | {f'{node[0]:.2f}' if node else ''} |")
    return "\n".join(lines) + "\n"


def behind(rows: Sequence[Row], systems: Sequence[str]) -> list[str]:
    """Return the metrics in which a peer on Python is better than we are, with its ratio."""
    rows, peers = with_sums(rows), _on_python(systems)
    found = {name: _ratio(rows, peers, name, higher=higher) for name, higher in METRICS.items()}
    return [f"{name} ({ratio[0]:.2f} of {ratio[1]})" for name, ratio in found.items() if ratio and ratio[0] < 1]


def cpu_table(rows: Sequence[Row]) -> str:
    """Return the CPU time of each of our processes, in µs for a POST, its workload and one GET."""
    names = sorted({row.metric for row in rows if row.system == OURS and row.metric.startswith("CPU ")})
    parts = {name: statistics.median(values(rows, OURS, name)) for name in names if name != "CPU µs/job"}
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    cells = [f"{name.removeprefix('CPU ').removesuffix(' µs/job')} {used:.0f}" for name, used in ordered if used >= 1]
    return " · ".join(cells)


def _cell(found: Sequence[float]) -> str:
    if not found:
        return ""
    middle, low, high = statistics.median(found), min(found), max(found)
    return f"{_short(middle)} ({_short(low)} to {_short(high)})"


def _on_python(systems: Sequence[str]) -> list[str]:
    return [system for system in systems if system not in (OURS, ON_NODE)]


def _ratio(rows: Sequence[Row], peers: Sequence[str], metric: str, *, higher: bool) -> tuple[float, str] | None:
    """Return the ratio of our median to the best of `peers`, and the name of this peer.

    A ratio above 1 means that ours is better. Returns None if we or all peers have no value of the metric.
    """
    ours = values(rows, OURS, metric)
    theirs = {one: statistics.median(found) for one in peers if (found := values(rows, one, metric))}
    if not ours or not theirs:
        return None
    best = (max if higher else min)(theirs, key=lambda one: theirs[one])
    middle = statistics.median(ours)
    return (middle / theirs[best] if higher else theirs[best] / middle), best


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
