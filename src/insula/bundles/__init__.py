"""The project bundles of all versions in S3. The key of a bundle has the version, which is a hash of the content.

Bundles are needed only when an API is deployed and when a worker starts. So a child process accesses S3 and then ends.
Without it, every idle submit, results and worker process would hold the 27 MB of boto3.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterable
from subprocess import PIPE
from typing import Final

from insula.errors import StoreUnavailable
from insula.process.tether import tethered
from insula.stores.objects import Bucket

log = logging.getLogger(__name__)

COMPLAINT_CHARS_MAX: Final = 4096
UNAVAILABLE: Final = 69
"""Exit code of the child process if S3 is unavailable or refuses the request. It equals os.EX_UNAVAILABLE on Unix."""
NOT_ASKED: Final = "S3 was not called"


class Bundles:
    """The bundles in one S3 bucket. Each method raises StoreUnavailable if S3 is unavailable or refuses the request."""

    def __init__(self, bucket: Bucket) -> None:
        """The bundles are in `bucket`. The variables AWS_* set the endpoint, the region and the credentials of S3."""
        self._bucket = bucket

    async def check(self) -> None:
        """Raise StoreUnavailable unless the bucket can be reached."""
        await self._run("check")

    async def store(self, version: str, archive: bytes) -> None:
        """Store the bundle of a version. After a day, `sweep` deletes it, unless `versions` contains the version."""
        await self._run("store", version, stdin=archive)

    async def fetch(self, version: str) -> bytes:
        """Return the bundle of a version. Raises StoreUnavailable, also if the bundle does not exist."""
        return await self._run("fetch", version)

    async def sweep(self, versions: Iterable[str]) -> None:
        """Delete every bundle that is older than a day and belongs to none of `versions`."""
        deleted = await self._run("sweep", stdin="\n".join(versions).encode())
        for key in deleted.decode().split():
            log.info("unused bundle deleted", extra={"object": key})

    async def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run the child process with these arguments and stdin; return its stdout. It is killed if its parent ends."""
        bucket = [self._bucket.name, self._bucket.addressing, str(self._bucket.socket or "")]
        command = [sys.executable, "-X", "utf8", "-I", "-m", "insula.bundles", *bucket, *arguments]
        try:
            # Not by uvloop, whose fork runs gRPC's fork handlers in this process: they break the pipes of the child.
            process = subprocess.Popen(tethered(command), stdin=PIPE, stdout=PIPE, stderr=PIPE)  # noqa: ASYNC220
        except OSError as error:
            raise StoreUnavailable("S3", str(error), summary=NOT_ASKED) from error
        try:
            stdout, stderr = await asyncio.to_thread(process.communicate, stdin)
        except BaseException:
            process.kill()  # then the thread ends
            raise
        if process.returncode != 0:
            lines = stderr.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            last = lines[-1]  # warnings or a traceback may come before it
            summary, detail = json.loads(last) if process.returncode == UNAVAILABLE else (NOT_ASKED, last)
            raise StoreUnavailable("S3", detail[:COMPLAINT_CHARS_MAX], summary=summary)
        return stdout
