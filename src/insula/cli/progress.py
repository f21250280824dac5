"""Where an API stands on its way to what was asked for: a version, and processes as fresh as a refresh wants them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from insula.cli.connection import LOOK_S
from insula.phase import ApiState, Phase
from insula.printing import note

if TYPE_CHECKING:
    from insula.v1.api_service_pb2 import Api

UNSERVED_S: Final = 10.0
"""A command waits this long for the first worker, and longer while an `insula up` is starting it."""
UNSEEN: Final = "no worker has started it yet"
REPLACED: Final = "replaced"


class Progress(NamedTuple):
    """`state` is ready, failing, replaced by another version, or the phase on the way; `reason` says more of it."""

    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.state in {ApiState.READY, ApiState.FAILING, REPLACED}


def progress(api: Api, version: str, generation: int) -> Progress:
    """Return where the API stands on its way to this version, refreshed so often."""
    if api.version != version:
        return Progress(REPLACED, f"somebody deployed version {api.version[:12]} before this one was ready")
    workers = [one for one in api.workers if one.version == version and one.generation >= generation]
    for state in (ApiState.READY, ApiState.FAILING):
        for worker in workers:
            if worker.phase == state:
                return Progress(state, worker.reason)
    return Progress(workers[0].phase, workers[0].reason) if workers else Progress(ApiState.PENDING, UNSEEN)


def follow(
    apis: Sequence[Api], look: Callable[[str], Api], *, starting: Callable[[], bool]
) -> Iterator[tuple[Api, Progress]]:
    """Yield each API and its end as it comes; tell what they are at.

    Gives up where no worker turns up, and no stack is `starting` that will have one.
    """
    waiting, told = {api.name: api for api in apis}, dict[str, Progress]()
    give_up = time.monotonic() + UNSERVED_S
    while waiting:
        for name, wanted in list(waiting.items()):
            api = look(name)
            found = progress(api, wanted.version, wanted.generation)
            unserved = not api.workers and time.monotonic() > give_up and not starting()
            if found.ended or unserved:
                del waiting[name]
                why = "no worker serves it yet; start one with INSULA_API set to its name"
                yield api, Progress(ApiState.PENDING, why) if unserved else found
            elif found != told.get(name, Progress(ApiState.PENDING, UNSEEN)):
                told[name] = found
                note(f"{name}: {': '.join(filter(None, found))}")
        if waiting:
            time.sleep(LOOK_S)


def remark(api: Api) -> str:
    """A sentence on why an API is not ready; empty if it is."""
    found = progress(api, api.version, api.generation)
    serving = next((worker.version for worker in api.workers if worker.phase == Phase.READY), "")
    if found.state == ApiState.READY:
        return ""
    if found.state != ApiState.FAILING:
        return f"{api.name} is {': '.join(filter(None, found))}"
    if serving == api.version:
        return f"{api.name} is ready, but a new process of it is failing; the old one still serves: {found.reason}"
    still = f"; version {serving[:12]} still serves" if serving else ""
    return f"{api.name} is failing{still}: {found.reason}"
