"""Measures Envoy's CPU time for a request, for one or more versions of the edge in turn.

    .venv/bin/python -m benchmarks.edge [--seconds 4] [--rounds 5] [FOLDER ...]

FOLDER is envoy/insula_envoy by default. Add a copy from before a change to measure the change. Needs wrk. The services
behind the edge are the scripted ones of tests/contract/edge. Prints for each folder the median over the rounds of the
CPU time for one request in microseconds, and the number of requests with a status other than 200.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from insula_envoy import bundled_folder
from tests.contract.edge.running_edge import RunningEdge
from tests.contract.edge.scripted_services import ScriptedServices

POST_JSON: Final = 'wrk.method = "POST"\nwrk.body = "{}"\nwrk.headers["Content-Type"] = "application/json"\n'
REQUESTS: Final[Mapping[str, tuple[str, str]]] = {
    "POST": ("/predict", POST_JSON),
    "GET": ("/predict/01890a5d-ac96-774b-bcce-b302099a8057", ""),
    "health": ("/healthz", ""),
}
"""The path and the wrk script of each request. `health` reaches no service, so it measures Envoy's filters only."""


def cpu_s(pid: int) -> float:
    """Return the CPU time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost_us(edge: RunningEdge, request: str, seconds: int, script: Path) -> tuple[float, int]:
    """Return Envoy's CPU time for one request, and how many requests failed."""
    target, lua = REQUESTS[request]
    script.write_text(lua)
    url = f"http://{edge.public.address}{target}"
    before = cpu_s(edge.process.pid)
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used_s = cpu_s(edge.process.pid) - before
    requests = int(re.findall(r"(\d+) requests in", output)[0])
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    return used_s / requests * 1e6, failed


def main() -> None:
    """Measure the folders in turn, several times, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[bundled_folder()])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    services = ScriptedServices()
    services.start()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        edges: dict[Path, RunningEdge] = {}
        for number, source in enumerate(chosen.folders):
            (folder / str(number)).mkdir()
            edges[source] = RunningEdge(services, folder / str(number), source.resolve())
        costs: dict[tuple[Path, str], list[tuple[float, int]]] = {}
        for _ in range(chosen.rounds):
            for request in REQUESTS:
                for source, edge in edges.items():
                    found = cost_us(edge, request, chosen.seconds, folder / "wrk.lua")
                    costs.setdefault((source, request), []).append(found)
        for (source, request), rounds in sorted(costs.items()):
            median = statistics.median(cost for cost, _ in rounds)
            print(f"{source}  {request}  {median:.1f} µs  failed {sum(failed for _, failed in rounds)}")
        for edge in edges.values():
            edge.stop()
    services.stop()


if __name__ == "__main__":
    main()
