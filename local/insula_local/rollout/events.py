"""What the rollout, and submit, tell `insula up`: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, cast


@dataclass(frozen=True)
class ApiTask:
    """One API to deploy: its configuration file, and its name in there."""

    name: str
    config_path: str


@dataclass(frozen=True)
class Task:
    """All the rollout has to know; `filer` is the path of SeaweedFS' socket, `admin` the address of ApiService.

    `watch`     deploy a project again whenever one of its files is saved
    `ask`       a dependencies.sh has to be confirmed by the user before it runs
    `all_apis`  whatever is registered is ours: nobody else uses this Redis
    """

    bucket: str
    filer: str
    token_key: str
    admin: str
    apis: tuple[ApiTask, ...]
    watch: bool = False
    ask: bool = False
    all_apis: bool = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `render`."""
        values: dict[str, Any] = json.loads(text)  # our own words; a wrong one would be a TypeError here
        values["apis"] = tuple(ApiTask(**api) for api in values["apis"])
        return cls(**values)

    def render(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


READY: Final = "ready"
FAILING: Final = "failing"
PENDING: Final = "pending"
STORED: Final = "stored"
DEPLOYED: Final = "deployed"
PHASE: Final = "phase"
STATE: Final = "state"


@dataclass(frozen=True)
class Event:
    """What happened.

    `stored`    the bucket is there
    `deployed`  a version of the API is registered at an endpoint; its worker may start, unless it runs already
    `phase`     what its worker is busy with, when it takes more than a moment
    `state`     it is ready, or failing for a reason
    """

    kind: str
    api: str = ""
    state: str = ""
    reason: str = ""
    version: str = ""
    endpoint: str = ""

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """From a line of the rollout's output; None if it is something else."""
        try:
            values = json.loads(line)
            return cls(**cast("Mapping[str, str]", values))
        except (ValueError, TypeError):
            return None

    def render(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))
