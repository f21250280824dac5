"""Fetch models: `python -m insula_worker.saved_models TASK`, with the AWS_* environment of a handler.

TASK is a JSON object: `folder`, and `sources` with the fields of `Source`. Prints the progress on stdout. If it fails,
it prints the reason on stderr and exits with code 1.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from insula_worker.saved_models.sources import Source, SourceInvalid

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

TELL_EVERY_S: Final = 5.0
MB: Final = 1_000_000


def main(task: dict[str, Any]) -> None:
    """Fetch every source. If one fails, print the reason and exit with code 1."""
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    folder = Path(task["folder"])
    for source in (Source(**each) for each in task["sources"]):
        try:
            fetch(boto3.client("s3"), source, folder)
        except (SourceInvalid, Boto3Error, BotoCoreError, ClientError, OSError) as error:
            sys.exit(f"handler: models: {source.key}: {source.uri}: {error}")


def fetch(s3: S3Client, source: Source, folder: Path) -> None:
    """Write the files of a source into the folder. Raises SourceInvalid, OSError, or an error of boto3."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=source.prefix)
    sizes = {item.get("Key", ""): item.get("Size", 0) for page in pages for item in page.get("Contents", [])}
    files = source.files(sizes)
    progress = Progress(source.uri, sum(sizes[key] for key in files.values()))
    for name, key in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(source.bucket, key, str(path), Callback=progress.add)
    progress.tell()


class Progress:
    """Prints the progress of one source, every TELL_EVERY_S seconds and at its end."""

    def __init__(self, uri: str, total_bytes: int) -> None:
        self._uri, self._total_bytes = uri, total_bytes
        self._bytes = 0
        self._printed_at = time.monotonic()

    def add(self, more_bytes: int) -> None:
        """Add to the fetched bytes. May be called from any thread."""
        self._bytes += more_bytes
        if time.monotonic() - self._printed_at > TELL_EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Print the progress."""
        self._printed_at = time.monotonic()
        sys.stdout.write(f"{self._uri}: {self._bytes / MB:.1f} of {self._total_bytes / MB:.1f} MB\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
