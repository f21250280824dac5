"""plot.py ROWS PNG: draws the medians of a comparison as bars. Runs in the peers' environment."""

import json
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

SHOWN = (
    "submit req/s",
    "drain jobs/s",
    "end to end jobs/s",
    "CPU µs/job",
    "closed loop p50 ms",
    "open loop 200/s p99 ms",
)


def main(rows_file, png):
    rows = [json.loads(line) for line in Path(rows_file).read_text().splitlines()]
    systems = list(dict.fromkeys(row["system"] for row in rows))
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7))
    for metric, axis in zip(SHOWN, axes.flat):
        found = {
            system: [row["value"] for row in rows if (row["system"], row["metric"]) == (system, metric)]
            for system in systems
        }
        middles = [statistics.median(found[system]) if found[system] else 0 for system in systems]
        reach = [
            [middle - min(found[system], default=0) for system, middle in zip(systems, middles)],
            [max(found[system], default=0) - middle for system, middle in zip(systems, middles)],
        ]
        colors = ["#c2571a" if system == "Insula" else "#8a9ba8" for system in systems]
        axis.barh(systems, middles, xerr=reach, color=colors, capsize=3)
        axis.invert_yaxis()
        axis.set_title(metric)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(png, dpi=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
