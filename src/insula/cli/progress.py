"""The progress of a deployment or a refresh: waits until the deployed version of an API is ready or failing."""

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
"""How long a command waits for the first worker of an API. It waits longer while `insula up` is starting workers."""
UNSEEN: Final = "no worker has started it yet"
REPLACED: Final = "replaced"


class Progress(NamedTuple):
    """How far a deployment is. `state` is an ApiState, the phase of a worker, or REPLACED after a newer deployment.

    `reason` explains the state.
    """

    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in {ApiState.READY, ApiState.FAILING, REPLACED}


def progress(api: Api, version: str, generation: int) -> Progress:
    """Return how far the deployment of `version` is. It is ready as soon as one worker is ready with this version.

    Workers that have not done the refresh with the number `generation` do not count.
    """
    if api.version != version:
        return Progress(REPLACED, f"version {api.version[:12]} was deployed before this one was ready")
    workers = [one for one in api.workers if one.version == version and one.generation >= generation]
    for state in (ApiState.READY, ApiState.FAILING):
        for worker in workers:
            if worker.phase == state:
                return Progress(state, worker.reason)
    return Progress(workers[0].phase, workers[0].reason) if workers else Progress(ApiState.PENDING, UNSEEN)


def follow(
    apis: Sequence[Api], look: Callable[[str], Api], *, starting: Callable[[], bool]
) -> Iterator[tuple[Api, Progress]]:
    """Wait for all APIs. Print each change of progress, and yield each API with its final progress.

    Stops waiting for an API that has no worker after UNSERVED_S, unless `starting` returns True, which means that the
    stack is still starting workers.
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
    """Return a sentence with the reason why an API is not ready; empty if it is ready."""
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
