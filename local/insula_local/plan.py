"""What is handed from the program that reads the command line and the projects to the one that runs the stack.

Reading takes YAML, the rules of a project and a command line library; running takes hours. So the first becomes the
second by exec, and only this plan survives, in a file without a name.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from insula.isolation import Isolation
from insula_local.settings import Settings


@dataclass(frozen=True)
class ApiFound:
    """An API of the projects: its name, where it answers, where it comes from, and its keys without effect here."""

    name: str
    endpoint: str
    root: Path
    config_path: Path
    ineffective_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Programs:
    """The three servers that are not Python, and bubblewrap where it is installed."""

    envoy: Path
    valkey: Path
    weed: Path
    bwrap: Path | None


@dataclass(frozen=True)
class Plan:
    """A stack that may be started."""

    settings: Settings
    apis: tuple[ApiFound, ...]
    programs: Programs
    payload_bytes_max: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `render`, with this process' environment."""
        values: dict[str, Any] = json.loads(text)  # our own words; a wrong one would be a TypeError here
        settings = values["settings"]
        programs = {name: Path(path) for name, path in values["programs"].items() if path}
        apis = (
            ApiFound(api["name"], api["endpoint"], Path(api["root"]), Path(api["config_path"]))
            for api in values["apis"]
        )
        return cls(
            Settings(
                **settings
                | {
                    "data": Path(settings["data"]),
                    "isolation": Isolation(settings["isolation"]),
                    "cors_origins": tuple(settings["cors_origins"]),
                }
            ),
            tuple(apis),
            Programs(programs["envoy"], programs["valkey"], programs["weed"], programs.get("bwrap")),
            values["payload_bytes_max"],
        )

    def render(self) -> str:
        """As JSON, without the environment."""
        values = asdict(self)
        del values["settings"]["environment"]
        return json.dumps(values, default=str)


def become_stack(plan: Plan) -> NoReturn:
    """Replace this program by the one that runs the stack; the process stays the same."""
    descriptor = os.memfd_create("plan", 0)
    os.write(descriptor, plan.render().encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What follows the descriptor is for the reader of a process list.
    os.execv(sys.executable, [sys.executable, "-X", "utf8", "-P", "-m", "insula_local", str(descriptor), *sys.argv[1:]])


def read_plan(descriptor: int) -> Plan:
    """What `become_stack` left."""
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return Plan.parse(file.read())
