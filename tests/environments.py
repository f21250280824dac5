"""The environments of projects, built one at a time by the worker's own code, before a stack needs them."""

from __future__ import annotations

import os
from pathlib import Path

from insula_worker.environment import EnvironmentInputs, ensure_environment


async def python_of(project: Path, *, tensorflow: bool = False) -> Path:
    """The interpreter that will run the project's handler. Minutes the first time, found again afterwards."""
    home_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("INSULA_CACHE") or Path(home_cache) / "insula")
    return await ensure_environment(EnvironmentInputs(project, dict(os.environ), tensorflow=tensorflow), cache)
