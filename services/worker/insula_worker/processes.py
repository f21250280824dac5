"""Programs the worker runs for a release: pip, a project's dependencies.sh, the fetching of models."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from insula.tether import tethered


@asynccontextmanager
async def running(
    command: Sequence[str],
    directory: Path,
    variables: Mapping[str, str],
    stdout: IO[bytes] | int,
    stderr: int = asyncio.subprocess.STDOUT,
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a command for the block, which waits for its end.

    `variables` is its whole environment. It ends with the worker, and with everything it started if the block is left
    by an exception. Raises OSError if it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *tethered(command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=directory,
        env=variables,
        start_new_session=True,
    )
    try:
        yield process
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
