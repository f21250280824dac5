"""The outermost frame of every service: settings in, exit code out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

from insula import logs
from insula.errors import InsulaError

Settings = TypeVar("Settings")


def run_service(
    name: str,
    environment: Mapping[str, str],
    read: Callable[[Mapping[str, str]], Settings],
    run: Callable[[Settings], Coroutine[object, object, None]],
) -> None:
    """Read the settings, run the service to its end; exit 1 with one line if it cannot start."""
    logs.configure(name, environment.get("INSULA_LOG_LEVEL", "info"))
    try:
        asyncio.run(run(read(environment)))
    except InsulaError as error:
        sys.exit(f"{name}: {error}")
