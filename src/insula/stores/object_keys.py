"""The key of every S3 object."""

from __future__ import annotations

from typing import Final

BUNDLES: Final = "bundles/"
"""What the S3 keys of all project bundles start with; no API is called so, since a name has no slash."""


def workload_objects(api: str, id: str) -> str:
    """What the S3 keys of all objects of a workload start with."""
    return f"{api}/{id}/"


def payload_object(api: str, id: str) -> str:
    """S3 key of a payload that is too large for the queue."""
    return f"{workload_objects(api, id)}payload"


def result_object(api: str, id: str, attempt: int) -> str:
    """S3 key of a result that is too large for the record; one per attempt, so a stale attempt cannot overwrite it."""
    return f"{workload_objects(api, id)}result.{attempt}"


def traceback_object(api: str, id: str, attempt: int) -> str:
    """S3 key of a traceback that is too large for the record; one per attempt, as for results."""
    return f"{workload_objects(api, id)}traceback.{attempt}"


def bundle_object(version: str) -> str:
    """S3 key of the project bundle of a version."""
    return f"{BUNDLES}{version}.zip"
