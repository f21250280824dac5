"""How Valkey runs in a stack: its settings, and its allocator."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

SETTINGS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "hash-max-listpack-entries": "32",  # enough for a live record; buckets of ended ones may be larger
    "hash-max-listpack-value": "8192",  # a record with its inline result stays compact: a third less memory
    "save": "",
    "daemonize": "no",
    "databases": "1",
}
"""Settings of Valkey. Each write is on disk before the reply, and records take less memory than by default."""
TUNABLES: Final = "glibc.malloc.tcache_count=30000"
"""Lets glibc's allocator cache this many free blocks of each size. A script over many workloads frees thousands of
blocks at its end. With the default of 7, the search for free blocks takes half of Valkey's time once it holds 100,000
workloads. Measured: 28 instead of 54 µs for a submit, and 36 MB more memory at most."""
JEMALLOC: Final = "libjemalloc.so.2"
LIBRARIES: Final = (Path("/usr/lib", str(sysconfig.get_config_var("MULTIARCH"))), Path("/usr/lib64"))
"""Folders of the shared libraries of this machine's architecture: on Debian, and on other distributions."""


def flags(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return settings as arguments `--name value` of valkey-server."""
    return tuple(word for name, value in settings.items() for word in (f"--{name}", value))


def allocator(folders: Sequence[Path] = LIBRARIES) -> dict[str, str]:
    """Return the variables that select Valkey's allocator: the machine's jemalloc if it is in `folders`, else glibc's.

    The wheel's Valkey is built without jemalloc, which Valkey itself prefers. glibc mixes the blocks of workloads with
    those of scripts, so scripts slow down as the queue grows. `benchmarks.depth` measures this.
    """
    for folder in folders:
        if (library := folder / JEMALLOC).is_file():
            return {"LD_PRELOAD": str(library)}
    return {"GLIBC_TUNABLES": TUNABLES}
