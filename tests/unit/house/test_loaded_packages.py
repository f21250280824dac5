"""A process loads only the packages that it uses: what it loads stays in its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("programs", "unused"),
    [
        (("insula_submit.__main__",), {"argparse", "boto3", "pathspec", "yaml"}),
        (("insula_results.__main__",), {"argparse", "boto3", "pathspec", "yaml"}),
        (("insula_worker.__main__",), {"argparse", "boto3", "pathspec", "yaml"}),
        (("insula.cli.main", "insula_local.up"), {"argparse", "boto3", "opentelemetry", "redis"}),
    ],
)
def test_a_process_loads_only_what_it_uses(programs: tuple[str, ...], unused: set[str]) -> None:
    """Each of these packages takes 0.4 to 27 MB, in every idle process that loads it."""
    code = f"import sys, {', '.join(programs)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert unused & set(done.stdout.split()) == set()
