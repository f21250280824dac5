"""Regenerate everything that is made from protos/: Python stubs, their types, and the descriptor set Envoy transcodes with.

Google's own protos come from the installed googleapis-common-protos, so none is copied into the repository.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import google.api
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
DESCRIPTOR = ROOT / "envoy" / "insula_envoy" / "insula.binpb"


def run_protoc(*arguments: str) -> None:
    """Run protoc over protos/ with Google's includes; exits with its code if it fails."""
    google_protos = Path(next(iter(google.api.__path__))).parent.parent
    includes = [PROTOS, google_protos, files("grpc_tools") / "_proto"]
    code = protoc.main(["protoc", *(f"-I{path}" for path in includes), *arguments])
    if code:
        sys.exit(code)


def main() -> None:
    """Write the stubs to src/insula/v1 and the descriptor set to envoy/insula_envoy."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    services = [source for source in sources if source.endswith("_service.proto")]
    out = ROOT / "src"
    run_protoc(f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources)
    run_protoc(f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services)
    # Envoy turns grpc-status-details-bin into JSON with the error detail types it finds here.
    descriptor = ["--include_imports", "--include_source_info", f"--descriptor_set_out={DESCRIPTOR}"]
    run_protoc(*descriptor, *sources, "google/rpc/error_details.proto")


if __name__ == "__main__":
    main()
