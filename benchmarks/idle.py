"""Measures an idle stack, new and after use of S3: the memory of each process, and the CPU time of all processes.

.venv/bin/python -m benchmarks.idle [SECONDS]

Run it as root, which alone may read the memory of the services. A page that n processes share counts as 1/n (PSS).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from insula_local.seaweedfs.storage import BUCKET
from tests.processes import descendants, memory_mb
from tests.stack import Stack, running_stack

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "language-identifier"
SETTLED_S = 10
SECONDS = 30
OBJECTS, OBJECT_BYTES, BUCKETS = 10, 20 << 20, 8


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU time that the processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime (proc(5))
    return ticks / os.sysconf("SC_CLK_TCK")


async def main(seconds: float) -> None:
    """Start the stack, measure, use S3, and measure again."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with running_stack([EXAMPLE], data=Path(folder)) as stack:
            await measure(stack, seconds)
            await asyncio.to_thread(use, stack)
            print(f"after {OBJECTS} objects of {OBJECT_BYTES >> 20} MiB and {BUCKETS} buckets:")
            await measure(stack, seconds)


async def measure(stack: Stack, seconds: float) -> None:
    """Wait until the stack is idle, measure it and print the figures."""
    await asyncio.sleep(SETTLED_S)
    processes = {stack.pid: "insula up"} | descendants(stack.pid)
    before_s = cpu_s(processes)
    await asyncio.sleep(seconds)
    used = (cpu_s(processes) - before_s) / seconds
    taken_mb = {pid: memory_mb(pid, "Pss", "smaps_rollup") for pid in processes}
    for pid, command in processes.items():
        print(f"{taken_mb[pid]:7.1f} MB  {command[:90]}")
    print(f"{sum(taken_mb.values()):7.1f} MB in all; {used:.1%} of one core over {seconds:g} s")


def use(stack: Stack) -> None:
    """Write large objects, and create buckets: SeaweedFS keeps memory for both."""
    s3 = stack.s3()
    for number in range(OBJECTS):
        s3.put_object(Bucket=BUCKET, Key=f"idle/{number}", Body=os.urandom(OBJECT_BYTES))
    for number in range(BUCKETS):
        s3.create_bucket(Bucket=f"idle-{number}")
        s3.put_object(Bucket=f"idle-{number}", Key="object", Body=b"content")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
