"""Draws the CPU time of a workload, one chart for each quantity that benchmarks/growth.py varies.

Called by benchmarks/growth.py as `growth_plot.py ROWS PNG`, with the Python of build/peers, which has matplotlib.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def main(rows_file, png):
    rows = [json.loads(line) for line in Path(rows_file).read_text().splitlines()]
    kinds = list(dict.fromkeys(row["varied"] for row in rows))
    figure, axes = pyplot.subplots(1, len(kinds), figsize=(13, 3.6))
    for kind, axis in zip(kinds, axes):
        found = [(row["value"], row["cost_us"]) for row in rows if row["varied"] == kind]
        axis.plot(*zip(*found), marker="o", color="#c2571a")
        axis.set_xscale("log", base=10 if kind.startswith("queued") else 2)
        axis.set_xlabel(kind)
        axis.set_ylim(0, 1.15 * max(cost for _, cost in found))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("CPU µs for one workload")
    figure.tight_layout()
    figure.savefig(png, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
