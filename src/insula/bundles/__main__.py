"""Access the bundles in S3: `python -m insula.bundles BUCKET ADDRESSING SOCKET COMMAND [VERSION]`.

SOCKET is empty if there is none. The AWS_* variables set endpoint, region and credentials.

    check               check that the bucket can be reached
    store VERSION       store stdin as the version's bundle, unless a bundle younger than FRESH exists
    fetch VERSION       write the version's bundle to stdout
    sweep               delete bundles older than KEPT whose version is not on stdin; write their keys to stdout

If S3 fails, the exit code is UNAVAILABLE, and stderr gets a JSON list with summary and detail. After any other error,
the exit code is 1, and stderr gets a text.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from insula.bundles import UNAVAILABLE
from insula.errors import InsulaError, StoreUnavailable
from insula.process.service import hide_from_others
from insula.stores.object_keys import BUNDLES, bundle_object
from insula.stores.objects import Bucket, ObjectNotFound, ObjectStore

KEPT: Final = timedelta(days=1)
"""How long `sweep` keeps a bundle whose version is not on stdin. A deployment in progress may still need it."""
FRESH: Final = KEPT / 2
"""`store` overwrites a bundle that is older than this, so that no sweep deletes the bundle during a deployment."""


async def main(name: str, addressing: str, socket: str, command: str, *versions: str) -> None:
    """Run one command. After an error, write it to stderr and exit, as the module's docstring says."""
    objects = ObjectStore(Bucket(name, addressing, Path(socket) if socket else None))
    try:
        match command, versions:
            case "check", ():
                await objects.check()
            case "store", (version,):
                await store(objects, version, sys.stdin.buffer.read())
            case "fetch", (version,):
                async for chunk in objects.read(bundle_object(version)):
                    sys.stdout.buffer.write(chunk)
            case "sweep", ():
                await sweep(objects, sys.stdin.read().split())
            case _:
                sys.exit(__doc__)
    except ObjectNotFound as error:
        _unavailable("S3 refused the request", str(error))
    except StoreUnavailable as error:
        _unavailable(error.summary, error.detail)
    except InsulaError as error:
        sys.exit(str(error))


def _unavailable(summary: str, detail: str) -> NoReturn:
    sys.stderr.write(json.dumps([summary, detail]) + "\n")
    sys.exit(UNAVAILABLE)


async def store(objects: ObjectStore, version: str, archive: bytes, fresh: timedelta = FRESH) -> None:
    """Write the bundle, unless the bucket holds one that is younger than `fresh`."""
    key = bundle_object(version)
    written = (await objects.written(key)).get(key)
    if written is None or written < datetime.now(UTC) - fresh:
        await objects.write(key, _once(archive))


async def sweep(objects: ObjectStore, versions: Iterable[str], kept: timedelta = KEPT) -> None:
    """Delete every bundle that is older than `kept` and belongs to none of `versions`; write its key to stdout."""
    before = datetime.now(UTC) - kept
    old = {key for key, written in (await objects.written(BUNDLES)).items() if written < before}
    for key in old - {bundle_object(version) for version in versions}:
        if (await objects.written(key)).get(key, before) < before:  # not deployed again since
            await objects.delete(key)
            sys.stdout.write(f"{key}\n")


async def _once(archive: bytes) -> AsyncIterator[bytes]:
    yield archive


if __name__ == "__main__":
    hide_from_others()
    asyncio.run(main(*sys.argv[1:]))
