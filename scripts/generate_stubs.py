"""Regenerate what is made from protos/: Python stubs, their types, and the descriptor set Envoy transcodes with.

Google's own protos come from the installed googleapis-common-protos, so none is copied into the repository.
With a folder as argument everything is written below it instead, for `make check` to compare.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def package_folder(name: str) -> Path:
    """The folder of an installed package, which need not have an __init__.py."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {name} is not installed; `make protos` installs it")
    return Path(next(iter(spec.submodule_search_locations)))


def run_protoc(protos: Path, *arguments: str) -> None:
    """Run protoc over `protos` with Google's includes; exits with its code if it fails."""
    includes = [protos, package_folder("google.api").parent.parent, package_folder("grpc_tools") / "_proto"]
    plugins = [f"--plugin={name}={Path(sys.executable).parent / name}" for name in PLUGINS]
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes), *plugins, *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def sources_in(protos: Path) -> list[str]:
    """Every .proto below `protos`, as protoc names them."""
    return sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))


def write_descriptor(protos: Path, descriptor: Path) -> None:
    """Write the descriptor set of `protos`, imports and comments included."""
    descriptor.parent.mkdir(parents=True, exist_ok=True)
    # Envoy turns grpc-status-details-bin into JSON with the error detail types it finds here.
    sources = [*sources_in(protos), "google/rpc/error_details.proto"]
    run_protoc(protos, "--include_imports", "--include_source_info", f"--descriptor_set_out={descriptor}", *sources)


def main(target: Path = ROOT) -> None:
    """Write the stubs to src/insula/v1 and the descriptor set to envoy/insula_envoy, both below `target`."""
    sources = sources_in(PROTOS)
    services = [source for source in sources if source.endswith("_service.proto")]
    out = target / "src"
    out.mkdir(parents=True, exist_ok=True)
    run_protoc(PROTOS, f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources)
    run_protoc(PROTOS, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services)
    write_descriptor(PROTOS, target / "envoy" / "insula_envoy" / "insula.binpb")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
