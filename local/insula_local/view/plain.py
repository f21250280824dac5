"""What the user sees of the stack, as plain lines on stderr; `live` adds what a terminal can show."""

from __future__ import annotations

import json
import mimetypes
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from insula.phase import ApiState
from insula.printing import visible
from insula_local.api import LocalApi
from insula_local.view.terminal import Terminal

LINE_CHARACTERS_MAX: Final = 2000
"""Of a handler's line on the terminal; the log has all of it."""
_TRACEBACKS: Final = ("traceback", "exc_info")
_KNOWN_FIELDS: Final = {"asctime", "levelname", "message", "process", "labels", "traceId", *_TRACEBACKS}
_CONTENT_TYPES: Final = {".json": "application/json", ".txt": "text/plain; charset=utf-8"}


@dataclass(frozen=True)
class Announcement:
    """Everything a user or a program needs to know of a stack that is up.

    `results_metrics` and `worker_metrics`, by API, are the URLs that Prometheus reads.
    """

    public: str
    internal: str
    admin: str
    redis: str
    s3_endpoint: str
    s3_environment: dict[str, str]
    results_metrics: str
    worker_metrics: dict[str, str]
    data: Path
    seconds: float
    apis: tuple[LocalApi, ...]

    def as_json(self) -> str:
        """The line of `--json`."""
        return json.dumps(
            {
                "public": self.public,
                "internal": self.internal,
                "admin": self.admin,
                "redis": self.redis,
                "s3": {"endpoint": self.s3_endpoint, "env": self.s3_environment},
                "metrics": {"results": self.results_metrics, "workers": self.worker_metrics},
                "data": str(self.data),
                "apis": [{"name": api.name, "state": api.state, "reason": api.reason} for api in self.apis],
            }
        )

    def as_text(self) -> str:
        """What a person reads: each API with the line that calls it."""
        lines = [f"Up after {self.seconds:.1f} s on {self.public}, data in {self.data}. Ctrl-C stops it."]
        found = f"`insula get --data {shlex.quote(str(self.data))}` and its like find it"
        lines.append(f"Admin address {self.admin}; {found}.")
        for api in self.apis:
            if api.state == ApiState.READY:
                lines += ["", f"  {curl(api)}", f"  curl {api.url}/<id>"]
        return "\n".join(lines) + "\n"


def curl(api: LocalApi) -> str:
    """A command that calls the API: with a sample of the project, if there is one."""
    for sample in _samples(api.project) if api.project else ():
        content_type = (
            _CONTENT_TYPES.get(sample.suffix) or mimetypes.guess_type(sample)[0] or "application/octet-stream"
        )
        return shlex.join(["curl", api.url, "-H", f"Content-Type: {content_type}", "--data-binary", f"@{sample}"])
    return f"curl {api.url} -H 'Content-Type: application/json' -d '{{\"key\": \"value\"}}'"


def _samples(project: Path) -> Iterable[Path]:
    """Cortex' examples came with a sample.json; ours keep several in samples/."""
    found = [project / "sample.json", project / "sample.txt", *sorted((project / "samples").glob("*"))]
    return (_near(path) for path in found if path.is_file())


def _near(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


_ROUTINE: Final = tuple(
    f'"message": "{message}"'
    for message in (
        "phase changed",
        "processing workload...",
        "workload processing complete",
        "handler isolation incomplete",  # `insula up` has printed it once for all of them
    )
)


def readable(line: str) -> str:
    """A line of a worker's log as a person reads it: the message, what was logged with it, a traceback below."""
    try:
        found = json.loads(line)
    except ValueError:
        return line
    if not isinstance(found, dict) or "message" not in found:
        return line
    fields = cast("dict[str, object]", found)
    text = str(fields["message"])
    level = str(fields.get("levelname", "INFO"))
    extra = {name: value for name, value in fields.items() if name not in _KNOWN_FIELDS}
    below = "".join(f"\n{fields[name]}" for name in _TRACEBACKS if name in fields)
    level = "" if level == "INFO" else f"{level} "
    return f"{level}{text}{' ' + json.dumps(extra) if extra else ''}{below}"


class View:
    """Plain lines, in the order things happen."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal: Final = terminal

    def say(self, text: str) -> None:
        """One line, or several; nothing in it steers the terminal that shows it, now or later."""
        self.terminal.write(f"{visible(text)}\n")

    def starting(self, part: str) -> None:
        """Nothing to say yet."""

    def ready(self, part: str, seconds: float) -> None:
        """A part is ready."""
        self.say(f"  {part:<24} ready after {seconds:.1f} s")

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        """A part ended unasked."""
        for line in lines:
            self.say(f"  {part}: {line[:LINE_CHARACTERS_MAX]}")
        self.say(f"  {part} {how}; starting it again in {again_s:g} s")

    def phase(self, api: str, phase: str) -> None:
        """What an API that takes its time is at."""
        self.say(f"  {api:<24} {phase}")

    def deployed(self, api: str) -> None:
        """A version of an API, or a new API, was deployed to the stack that is up."""
        self.say(f"  {api:<24} deployed, starting")

    def api(self, api: LocalApi, seconds: float) -> None:
        """An API's state has changed."""
        if api.state == ApiState.READY:
            self.ready(api.name, seconds)
        else:
            self.say(f"  {api.name} is {api.state}:")
            for line in api.reason.splitlines():
                self.say(f"    {line[:LINE_CHARACTERS_MAX]}")

    def handler_line(self, api: str, line: str) -> None:
        """A worker wrote a line of its log; the routine is for `insula logs`, not for the eye."""
        if any(routine in line for routine in _ROUTINE):
            return
        for part in readable(line).splitlines() or [""]:
            self.handler_says(api, part[:LINE_CHARACTERS_MAX])

    def handler_says(self, api: str, text: str) -> None:
        """One line of it."""
        self.say(f"[{api}] {text}")

    def up(self) -> None:
        """The stack is up."""

    def stopping(self) -> None:
        """The stack is told to stop."""
        self.say("Stopping; a second Ctrl-C ends everything at once.")

    def stopped(self, seconds: float) -> None:
        """Nothing of it runs any more."""
        self.say(f"Stopped after {seconds:.1f} s. Everything accepted is kept and goes on with the next `insula up`.")
