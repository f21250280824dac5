from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

HEAVY = ("asyncio", "boto3", "grpc", "redis", "yaml")


def insula(*arguments: str) -> str:
    command = [sys.executable, "-m", "insula.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_help_and_version_import_nothing_that_only_commands_need() -> None:
    """Large packages are not imported for `--help` and `--version`, so these are fast."""
    code = f"import sys, insula.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_package() -> None:
    assert insula("--version").strip() == f"insula {version('insula')}"


def test_the_help_lists_the_commands() -> None:
    words = insula("--help")
    assert all(command in words for command in ("up", "submit", "result"))
    words = insula("up", "--help")
    assert all(option in words for option in ("--data", "--public-port", "--internal-address", "--json"))
