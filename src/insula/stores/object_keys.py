"""The key of every S3 object."""

from __future__ import annotations

from typing import Final

BUNDLES: Final = "bundles/"
"""Prefix of the S3 keys of all project bundles. No API has this prefix, because names of APIs have no slash."""


def workload_objects(api: str, id: str) -> str:
    """Prefix of the S3 keys of a workload's objects."""
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


def possible_objects(api: str, id: str, attempts: int) -> list[str]:
    """S3 keys of all objects that a workload may have after `attempts` attempts."""
    keys = [payload_object(api, id)]
    for attempt in range(1, attempts + 1):
        keys += result_object(api, id, attempt), traceback_object(api, id, attempt)
    return keys


def bundle_object(version: str) -> str:
    """S3 key of the project bundle of a version."""
    return f"{BUNDLES}{version}.zip"
