"""Runs every check that needs no running stack: `make check`.

Each step is a command of its own. Its name and its time are printed. All steps run, even after a failure; the exit code
is 1 if any step failed. The working tree is not changed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SIDE_BY_SIDE = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadscope")
HANDLERS_SIDE = ("services/worker/insula_runner", "services/worker/cortex_internal")

STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format (ruff)", ("ruff", "format", "--check", ".")),
    ("lint (ruff)", ("ruff", "check", "--quiet", ".")),
    ("the handler's side runs on Python 3.8 (vermin)", ("vermin", "-q", "-t=3.8-", "--violations", *HANDLERS_SIDE)),
    ("import rules (import-linter)", ("lint-imports", "--no-logo")),
    ("contracts (buf), generated files", ("python", "-m", "scripts.check_protos")),
    ("reference of cortex.yaml", ("python", "-m", "scripts.generate_reference", "--check")),
    ("types (mypy --strict)", ("mypy",)),
    ("types (pyright strict)", ("pyright",)),
    ("house rules and quick tests (pytest)", ("python", "-m", "pytest", "-q", *SIDE_BY_SIDE, "tests/unit")),
)


def run(name: str, command: tuple[str, ...]) -> bool:
    """Run one step and print whether it passed, below its own output."""
    start = time.monotonic()
    code = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, check=False).returncode
    verdict = "ok" if code == 0 else f"FAILED: {' '.join(command)}"
    print(f"── {name}  {time.monotonic() - start:.1f} s  {verdict}", flush=True)
    return code == 0


def main() -> int:
    """Run all steps. Return 0 if every step passed."""
    start = time.monotonic()
    failed = [name for name, command in STEPS if not run(name, command)]
    seconds = time.monotonic() - start
    if failed:
        print(f"check: {len(failed)} of {len(STEPS)} steps failed in {seconds:.0f} s: {', '.join(failed)}")
        return 1
    print(f"check: all {len(STEPS)} steps passed in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
