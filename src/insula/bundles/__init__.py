"""The project bundles of all versions in S3, addressed by their content.

They are needed only when an API is deployed and when a worker starts. So a separate program accesses them: boto3 and
its model of S3 take 27 MB, which would stay in the memory of every idle submit, results and worker.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from insula.errors import StoreUnavailable
from insula.process.tether import tethered

log = logging.getLogger(__name__)

COMPLAINT_CHARS_MAX: Final = 4096
UNAVAILABLE: Final = 69
"""The program's exit code if S3 does not answer or refuses; os.EX_UNAVAILABLE, where there is one."""
NOT_ASKED: Final = "S3 was not called"


class Bundles:
    """The bundles in one bucket. Every method raises StoreUnavailable when S3 does not answer or refuses us."""

    def __init__(self, bucket: str) -> None:
        """Endpoint, region and credentials come from the AWS_* environment, the socket from INSULA_S3_SOCKET."""
        self._bucket = bucket

    async def check(self) -> None:
        """Raise StoreUnavailable unless the bucket can be reached."""
        await self._ask("check")

    async def store(self, version: str, archive: bytes) -> None:
        """Keep the bundle of a version for at least a day, and for as long as `sweep` is given the version."""
        await self._ask("store", version, told=archive)

    async def fetch(self, version: str) -> bytes:
        """Return the bundle of a version. Raises StoreUnavailable also if it does not exist."""
        return await self._ask("fetch", version)

    async def sweep(self, versions: Iterable[str]) -> None:
        """Delete bundles that are older than a day and belong to none of the versions."""
        deleted = await self._ask("sweep", told="\n".join(versions).encode())
        for key in deleted.decode().split():
            log.info("bundle deleted", extra={"object": key})

    async def _ask(self, *question: str, told: bytes = b"") -> bytes:
        """Run the program, which ends with us, with `told` on its stdin; return what it writes."""
        command = [sys.executable, "-X", "utf8", "-I", "-m", "insula.bundles", self._bucket, *question]
        try:
            process = await asyncio.create_subprocess_exec(*tethered(command), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        except OSError as error:
            raise StoreUnavailable("S3", str(error), summary=NOT_ASKED) from error
        try:
            answer, complaint = await process.communicate(told)
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            lines = complaint.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            last = lines[-1]  # whatever warnings or traceback come before it
            summary, detail = json.loads(last) if process.returncode == UNAVAILABLE else (NOT_ASKED, last)
            raise StoreUnavailable("S3", detail[:COMPLAINT_CHARS_MAX], summary=summary)
        return answer
