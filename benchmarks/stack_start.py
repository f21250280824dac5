"""Measures the start of a stack, from the command to its line of JSON, when its API's environment is cached.

.venv/bin/python -m benchmarks.stack_start [STARTS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.stack import running_stack

STARTS = 10
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "language-identifier"


async def start_s(folder: Path) -> float:
    """Start and stop a stack with a new data directory. Return how long the start took."""
    began = time.perf_counter()
    async with running_stack([EXAMPLE], data=folder):
        return time.perf_counter() - began


async def main(starts: int) -> None:
    """Start a stack `starts` times. Print the median and the range of the times."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        await start_s(Path(folder, "first"))  # builds the environment
        taken_s = [await start_s(Path(folder, str(number))) for number in range(starts)]
    print(f"{starts} starts: median {statistics.median(taken_s):.2f} s, {min(taken_s):.2f} to {max(taken_s):.2f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else STARTS))
