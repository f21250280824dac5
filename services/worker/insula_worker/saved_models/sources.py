"""Finds the SavedModels and their versions among the object keys below an S3 prefix. Pure; fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

SAVED_MODEL: Final = frozenset({"saved_model.pb", "saved_model.pbtxt"})
UNVERSIONED: Final = "1"
"""The version of a model without version folders."""
NAMES_SHOWN: Final = 5


class SourceInvalid(ValueError):
    """There is no valid model at a location. The text names the expected files and those found."""


class Source(NamedTuple):
    """One location of models in cortex.yaml.

    `key` is its key in `handler.models`, `name` the model's name or "" for a folder of models, and `uri` its S3 URI.
    """

    key: str
    name: str
    uri: str

    @property
    def bucket(self) -> str:
        """The bucket in the URI."""
        return urlsplit(self.uri).netloc

    @property
    def prefix(self) -> str:
        """The common prefix of its object keys: a folder with a slash at the end, or empty."""
        path = urlsplit(self.uri).path.strip("/")
        return f"{path}/" if path else ""

    def files(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the object key of each file to write. A file is <model>/<version>/<path in the SavedModel>.

        `keys` are the object keys that start with `prefix`. Keys outside a version are left out. Raises
        SourceInvalid.
        """
        objects = {key[len(self.prefix) :]: key for key in keys if not key.endswith("/")}
        for path in objects:
            if not {"..", ".", ""}.isdisjoint(path.split("/")):
                raise SourceInvalid(f'"{path}" cannot be the path of a file: a part of it is empty, "." or ".."')
        models = {self.name: objects} if self.name else by_folder(objects)
        if not models:
            raise SourceInvalid(f"there is no folder with a SavedModel{seen(objects)}")
        return {
            f"{name}/{path}": key
            for name, inside in models.items()
            for path, key in versions(inside, "" if self.name else f"{name}: ").items()
        }


def by_folder(objects: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Group objects by the first folder of their path. Objects in no folder are left out."""
    folders: dict[str, dict[str, str]] = {}
    for path, key in objects.items():
        folder, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(folder, {})[rest] = key
    return folders


def versions(objects: Mapping[str, str], where: str = "") -> dict[str, str]:
    """Return the object keys of one model by <version>/<path in the SavedModel>. Raises SourceInvalid."""
    if not SAVED_MODEL.isdisjoint(objects):
        found = {UNVERSIONED: dict(objects)}
    else:
        found = {
            version: inside
            for version, inside in by_folder(objects).items()
            if version.isascii() and version.isdecimal() and not SAVED_MODEL.isdisjoint(inside)
        }
    if not found:
        expected = "expected saved_model.pb, or folders named by a version number that hold one"
        raise SourceInvalid(f"{where}{expected}{seen(objects)}")
    return {f"{version}/{path}": key for version, inside in found.items() for path, key in inside.items()}


def seen(objects: Iterable[str]) -> str:
    """Return a part of an error text: the first names of files and folders among `objects`."""
    names = sorted({path.partition("/")[0] for path in objects})
    if not names:
        return " (there is nothing)"
    shown = ", ".join(names[:NAMES_SHOWN])
    return f" (found {shown}{', ...' if len(names) > NAMES_SHOWN else ''})"
