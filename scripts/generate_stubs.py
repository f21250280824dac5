"""Generates files from protos/: Python stubs, their types, and the descriptor set for Envoy's transcoding.

Google's protos come from the installed googleapis-common-protos, so the repository has no copies of them.
With a folder as argument, the files are written below this folder, so that `make check` can compare them.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
KEDAS = "externalscaler"
"""Folder with the .proto file of KEDA, whose package name is fixed. protoc sees the folder as insula/externalscaler, so
that the stubs are in the Python package insula.externalscaler."""


def package_folder(name: str) -> Path:
    """Return the folder of an installed package, which may lack an __init__.py."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {name} is not installed; `make protos` installs it")
    return Path(next(iter(spec.submodule_search_locations)))


def run_protoc(protos: Path, *arguments: str) -> None:
    """Run protoc on `protos` with Google's protos. If it fails, exit with its exit code."""
    includes = [
        f"insula/{KEDAS}={protos / KEDAS}",
        protos,
        package_folder("google.api").parent.parent,
        package_folder("grpc_tools") / "_proto",
    ]
    plugins = [f"--plugin={name}={Path(sys.executable).parent / name}" for name in PLUGINS]
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes), *plugins, *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def sources_in(protos: Path) -> list[str]:
    """Return every .proto below `protos`, by the path that protoc knows it by."""
    paths = (path.relative_to(protos) for path in protos.rglob("*.proto"))
    return sorted(f"insula/{path}" if path.parts[0] == KEDAS else str(path) for path in paths)


def write_descriptor(protos: Path, descriptor: Path) -> None:
    """Write the descriptor set of `protos`, with imports and comments."""
    descriptor.parent.mkdir(parents=True, exist_ok=True)
    # Envoy needs the types of error details to convert grpc-status-details-bin into JSON.
    sources = [*sources_in(protos), "google/rpc/error_details.proto"]
    run_protoc(protos, "--include_imports", "--include_source_info", f"--descriptor_set_out={descriptor}", *sources)


def main(target: Path = ROOT) -> None:
    """Write the stubs to src/insula/ and the descriptor set to envoy/insula_envoy, in `target`."""
    sources = sources_in(PROTOS)
    services = [source for source in sources if source.endswith(("_service.proto", f"{KEDAS}.proto"))]
    out = target / "src"
    out.mkdir(parents=True, exist_ok=True)
    run_protoc(PROTOS, f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources)
    run_protoc(PROTOS, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services)
    write_descriptor(PROTOS, target / "envoy" / "insula_envoy" / "insula.binpb")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
