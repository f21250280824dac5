"""Ask S3 for bundles: `python -m insula.bundles BUCKET QUESTION [VERSION]`, with the S3 settings of the services.

    check               can the bucket be reached?
    store VERSION       keep what is on stdin, unless it is there and was written a short while ago
    fetch VERSION       write it to stdout
    sweep               delete those of versions that are not on stdin, if older than KEPT; write their keys to stdout

Exits with UNAVAILABLE if S3 is the reason that it could not, and writes summary and detail of it to stderr as a list in
JSON; exits with 1 and writes a text otherwise.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from insula.bundles import UNAVAILABLE
from insula.errors import InsulaError, StoreUnavailable
from insula.process.service import hide_from_others
from insula.stores.object_keys import BUNDLES, bundle_object
from insula.stores.objects import ObjectNotFound, ObjectStore

KEPT: Final = timedelta(days=1)
"""How long one that no version names is kept: one that is being deployed is younger."""
FRESH: Final = KEPT / 2
"""An older one is written again when its version comes back, so that no sweep takes it meanwhile."""


async def main(bucket: str, question: str, *versions: str) -> None:
    """Answer one question, or exit with the reason."""
    objects = ObjectStore(bucket, Path(socket) if (socket := os.environ.get("INSULA_S3_SOCKET")) else None)
    try:
        match question, versions:
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
    """Have the bundle in the bucket, and too young for a sweep."""
    key = bundle_object(version)
    written = (await objects.written(key)).get(key)
    if written is None or written < datetime.now(UTC) - fresh:
        await objects.write(key, _once(archive))


async def sweep(objects: ObjectStore, versions: Iterable[str], kept: timedelta = KEPT) -> None:
    """Delete the bundles that are older than `kept` and of none of the versions; say which."""
    before = datetime.now(UTC) - kept
    old = {key for key, written in (await objects.written(BUNDLES)).items() if written < before}
    for key in old - {bundle_object(version) for version in versions}:
        if (await objects.written(key)).get(key, before) < before:  # its version has not come back meanwhile
            await objects.delete(key)
            sys.stdout.write(f"{key}\n")


async def _once(archive: bytes) -> AsyncIterator[bytes]:
    yield archive


if __name__ == "__main__":
    hide_from_others()
    asyncio.run(main(*sys.argv[1:]))
