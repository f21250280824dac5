"""`insula logs`: what the workers of an API and their handlers write, from all replicas at once."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from insula.cli.apis import Name, look
from insula.cli.connection import LOOK_S, Admin, Data, channel_to, open_channel, spoken_errors, starting
from insula.printing import note, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc

LINES_WAITING_MAX: Final = 10_000
"""Lines held for a slow terminal; the workers wait then, and tell what was missed."""


def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with the lines to come, until Ctrl-C.")] = False,
    workload: Annotated[
        str, typer.Option("--workload", metavar="ID", help="Only the lines of this workload.", show_default=False)
    ] = "",
    admin: Admin = None,
    data: Data = None,
) -> None:
    """Print the latest log lines of an API's workers as JSON, one a line."""
    with spoken_errors(), channel_to(admin, data) as channel:
        addresses = _addresses(channel, name, starting(admin, data))
    if not addresses:
        note(f"insula: no worker of {name} has reported lately")
        raise typer.Exit(1)
    lines: queue.Queue[str | None] = queue.Queue(LINES_WAITING_MAX)
    lost: list[str] = []
    for address in addresses:
        threading.Thread(target=_read, args=(address, workload, follow, lines, lost), daemon=True).start()
    for line in _until_all_ended(lines, len(addresses)):
        put(line)
    if lost:
        note(f"insula: {'; '.join(lost)}; what it said since is in `insula logs {name}`, once it is back")
        raise typer.Exit(1)


def _addresses(channel: grpc.Channel, name: str, starting: Callable[[], bool]) -> list[str]:
    """Where the workers answer; of a stack that is starting, as soon as one does."""
    told = False
    while not (workers := look(channel, name).workers) and starting():
        if not told:
            note(f"insula: no worker of {name} has reported yet; waiting for one")
        told = True
        time.sleep(LOOK_S)
    return sorted({worker.address for worker in workers})


def _until_all_ended(lines: queue.Queue[str | None], readers: int) -> Iterable[str]:
    while readers:
        line = lines.get()
        if line is None:
            readers -= 1
        else:
            yield line


def _read(address: str, workload: str, follow: bool, lines: queue.Queue[str | None], lost: list[str]) -> None:
    """Put the lines of one worker into the queue, then None; say in `lost` if it did not tell them all."""
    import grpc

    from insula.v1.worker_service_pb2 import StreamLogsRequest
    from insula.v1.worker_service_pb2_grpc import WorkerServiceStub

    try:
        with open_channel(address) as channel:
            request = StreamLogsRequest(follow=follow, workload=workload)
            for response in WorkerServiceStub(channel).StreamLogs(request):
                lines.put(response.line)
    except grpc.RpcError as error:
        lost.append(f"the worker at {address} does not tell: {error.details()}")
    finally:
        lines.put(None)
