"""The traceback of a failed workload, for `insula submit --wait` and `insula result`."""

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
    """Print the traceback on stderr, or the command that prints it. No effect unless the handler raised an error.

    Only the admin address returns tracebacks. It is unknown if only `url` is given.
    """
    if workload.failure is None or workload.failure.reason != Reason.HANDLER_ERROR:
        return
    elsewhere = url and not admin and data is None  # the admin address of the Insula at this URL is unknown
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
