"""The output for the user as plain lines on stderr. `live` adds colours and a spinner."""

from __future__ import annotations

import json
import mimetypes
import re
import shlex
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from insula.phase import ApiState
from insula.printing import visible
from insula.telemetry.log_lines import CHARACTERS_MAX, LogForm, Row, parse, plain, rows
from insula_local import scrapes
from insula_local.api import LocalApi
from insula_local.view.terminal import Terminal

PROGRESS_EVERY_S: Final = 10.0
ROUTINE: Final = {
    "polling for workloads...",
    "processing workload...",
    "workload processing complete",
    "version changed its phase",  # the view shows phases
    "installation step started",
    "installing packages",  # the view shows the progress
    "handler isolation incomplete",  # `insula up` reports it once for all workers
}
"""Messages of a worker that are shown only with --verbose."""
_ROUTINE_LINE: Final = re.compile(
    r'\{"asctime": "[^"]*", "levelname": "[A-Z]+", "message": "(?:'
    + "|".join(map(re.escape, sorted(ROUTINE)))
    + r')", "process": (\d+),'
)
"""The start of a routine line. Each workload has two such lines, so they are recognised without parsing JSON."""
_CONTENT_TYPES: Final = {".json": "application/json", ".txt": "text/plain; charset=utf-8"}


@dataclass(frozen=True)
class Announcement:
    """The addresses and the APIs of a stack, for a user or a program.

    `results_metrics` is a URL for Prometheus. `worker_metrics` maps the short name of each worker to its URL.
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
        """Return one line of JSON: the output of `insula up --json`, and the content of stack.json."""
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
        """Return the text for a person: the addresses, and for each API a command that calls it."""
        lines = [f"Up after {self.seconds:.1f} s on {self.public}, data in {self.data}. Ctrl-C stops it."]
        found = f"`insula get --data {shlex.quote(str(self.data))}` and other commands use it"
        lines.append(f"Admin address {self.admin}; {found}.")
        workers = urljoin(self.results_metrics, scrapes.worker_path("<api>"))
        lines.append(f"Metrics {self.results_metrics} and {workers}, for Prometheus.")
        for api in self.apis:
            if api.state == ApiState.READY:
                lines += ["", f"  {curl(api)}", f"  curl {api.url}/<id>"]
        return "\n".join(lines) + "\n"


def curl(api: LocalApi) -> str:
    """Return a curl command that calls the API, with a sample payload of the project if it has one."""
    for sample in _samples(api.project) if api.project else ():
        content_type = (
            _CONTENT_TYPES.get(sample.suffix) or mimetypes.guess_type(sample)[0] or "application/octet-stream"
        )
        return shlex.join(["curl", api.url, "-H", f"Content-Type: {content_type}", "--data-binary", f"@{sample}"])
    return f"curl {api.url} -H 'Content-Type: application/json' -d '{{\"key\": \"value\"}}'"


def _samples(project: Path) -> Iterable[Path]:
    """Return the sample payloads of a project. Cortex' examples have a sample.json; ours have a folder samples/."""
    found = [project / "sample.json", project / "sample.txt", *sorted((project / "samples").glob("*"))]
    return (_near(path) for path in found if path.is_file())


def _near(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


class View:
    """Prints plain lines, in the order of events."""

    def __init__(self, terminal: Terminal, form: LogForm = LogForm.PLAIN, *, verbose: bool = False) -> None:
        """`form` is the format of workers' log lines. If `verbose`, messages in ROUTINE are shown too."""
        self.terminal: Final = terminal
        self._form: Final = form
        self._verbose: Final = verbose
        self._phases: Final[dict[str, tuple[str, str, float]]] = {}

    def say(self, text: str) -> None:
        """Print one or more lines. Control characters in them are printed as escapes."""
        self.terminal.write(f"{visible(text)}\n")

    def starting(self, part: str) -> None:
        """Do nothing when a part starts. LiveView shows it."""

    def ready(self, part: str, seconds: float) -> None:
        """Print that a part, or an API, is ready."""
        self.say(f"  {part:<24} ready after {seconds:.1f} s")

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        """Print the last lines of a part that ended without a stop, how it ended, and when it starts again."""
        for line in lines:
            self.say(f"  {part}: {line[:CHARACTERS_MAX]}")
        self.say(f"  {part} {how}; starting it again in {again_s:g} s")

    def phase(self, api: LocalApi, now: float) -> None:
        """Show a new phase of an API at once, and new progress at most every PROGRESS_EVERY_S."""
        phase, progress, at = self._phases.get(api.name, ("", "", 0.0))
        if phase != api.phase or (progress != api.progress and now - at >= PROGRESS_EVERY_S):
            self._phases[api.name] = (api.phase, api.progress, now)
            self.say(f"  {api.name:<24} {': '.join(filter(None, (api.phase, api.progress)))}")

    def deployed(self, api: str) -> None:
        """Print that a new version or a new API was deployed while the stack is up."""
        self.say(f"  {api:<24} deployed, starting")

    def api(self, api: LocalApi, seconds: float) -> None:
        """Print that an API is ready, or is failing and for which reason."""
        self._phases.pop(api.name, None)
        if api.state == ApiState.READY:
            self.ready(api.name, seconds)
        else:
            self.say(f"  {api.name} is {api.state}:")
            for line in api.reason.splitlines():
                self.say(f"    {line[:CHARACTERS_MAX]}")

    def worker_line(self, api: str, line: str, worker: int | None) -> None:
        """Show a log line of the worker with the pid `worker`. A routine line is shown only if verbose."""
        if self._form is LogForm.JSON:
            self.raw(line)
            return
        if not self._verbose and (routine := _ROUTINE_LINE.match(line)) and routine[1] == str(worker):
            return  # a handler may log the same words, but has another pid
        self.rows(rows(parse(line, api)))

    def failed(self, error: Exception) -> None:
        """Show an unexpected error of `insula up` with its traceback, in the form of a worker's log line."""
        line = {
            "asctime": time.strftime("%Y-%m-%d %H:%M:%S"),
            "levelname": "ERROR",
            "message": "insula up failed",
            "traceback": "".join(traceback.format_exception(error)),
        }
        self.worker_line("", json.dumps(line), None)

    def raw(self, line: str) -> None:
        """Print a line unchanged, for a program."""
        self.terminal.write(f"{line}\n")

    def rows(self, found: list[Row]) -> None:
        """Print a worker's log line, which is formatted as one or more rows."""
        self.say("\n".join(map(plain, found)))

    def up(self) -> None:
        """Do nothing when the stack is up. LiveView ends its spinner."""

    def stopping(self) -> None:
        """Print that the stack begins to stop."""
        self.say("Stopping; a second Ctrl-C kills all parts at once.")

    def stopped(self, seconds: float) -> None:
        """Print that all parts have ended."""
        self.say(f"Stopped after {seconds:.1f} s. Accepted workloads are kept for the next `insula up`.")
