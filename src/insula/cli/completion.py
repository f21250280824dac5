"""Shell completion of the names of deployed APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer

from insula.cli.connection import address_of, client_at
from insula.errors import InsulaError

PATIENCE_S: Final = 1.0


def complete_api(context: typer.Context, incomplete: str) -> list[str]:
    """Return the API names that start with `incomplete`; none if the stack does not answer within PATIENCE_S."""
    data = context.params.get("data")  # a text: nothing is converted during a completion
    try:
        with client_at(address_of(context.params.get("admin"), Path(data) if data else None)) as client:
            names = [api.name for api in client.apis()] if client.answers(PATIENCE_S) else []
    except (InsulaError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]
