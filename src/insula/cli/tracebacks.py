"""The traceback of a failed workload, for the commands that print its end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from insula.cli.connection import address_of, client_at
from insula.errors import InsulaError
from insula.printing import note
from insula.reason import Reason

if TYPE_CHECKING:
    from insula.client import Workload


def show_traceback(workload: Workload, url: str | None, admin: str | None, data: Path | None) -> None:
    """Print the traceback on stderr, or where it is: callers do not get it, so the admin address is asked."""
    if workload.failure is None or workload.failure.reason != Reason.HANDLER_ERROR:
        return
    elsewhere = url and not admin and data is None  # of the Insula at this URL we know no admin address
    with suppress(InsulaError):
        if not elsewhere:
            with client_at(address_of(admin, data)) as client:
                if traceback := client.traceback(workload.api, workload.id):
                    note(traceback.rstrip())
            return
    here = f"{workload.api} {workload.id}"
    note(
        f"its traceback: `insula result {here} --admin ADDRESS`, or inside the cluster "
        f"GET http://api-{workload.api}:8888/{workload.id}?traceback=1"
    )
