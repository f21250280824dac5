"""`make demo`: starts a stack with an example, calls the API over HTTP, and checks the results.

On a terminal the stack then runs until Ctrl-C, so that the user can call it. Otherwise it is stopped, and the exit code
is 0 if every result was right. Each request is printed as a curl command.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from insula_local.machine.ports import is_free

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "examples/language-identifier"
PUBLIC_PORT = 8080
INTERNAL_PORT = 8888
ANSWER_S = 60
STOP_S = 15


@dataclass(frozen=True)
class Question:
    """A payload, and the right result: its language."""

    content_type: str
    payload: str
    language: str


QUESTIONS = (
    Question("text/plain; charset=utf-8", "Heute scheint in München endlich wieder die Sonne.", "de"),
    Question("application/json", '{"text": "Mañana vamos a la playa con los niños."}', "es"),
)
OWN = Question("text/plain; charset=utf-8", "your own sentence", "")


class DemoFailed(Exception):
    """The demo cannot continue. The text is the reason."""


def main() -> int:
    """Run the demo. Return 0 if every result was right."""
    signal.signal(signal.SIGTERM, leave)
    stack = start()
    told_by_terminal = False
    try:
        url = when_ready(stack)
        for question in QUESTIONS:
            ask(url, question)
        print(
            f"\nEvery answer is right. Send your own:\n\n  {curl(url, OWN)}\n  curl {url}/<id from the answer>\n",
            flush=True,
        )
        if sys.stdout.isatty():
            print("The stack stays up; Ctrl-C stops it.", flush=True)
            stack.wait()
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        told_by_terminal = True
    finally:
        stop(stack, told_by_terminal=told_by_terminal)
    return 0


def leave(number: int, _frame: object) -> None:
    """Exit with the signal's exit code. Every `finally` block runs, so the stack is stopped."""
    sys.exit(128 + number)


def start() -> subprocess.Popen[str]:
    """Start the stack on free ports. Its progress is shown on the terminal; its line of JSON is read here."""
    port, address = free_places()
    if (port, address) != (PUBLIC_PORT, "127.0.0.1"):
        print(f"Port {PUBLIC_PORT} or {INTERNAL_PORT} is in use here, so this stack takes {port} and {address}.")
    options = ["--data", "build/demo", "--public-port", str(port), "--internal-address", address, "--json"]
    command = ["insula", "up", PROJECT, *options]
    print(f"$ {shlex.join(command)}", flush=True)
    program = str(Path(sys.executable).parent / "insula")
    return subprocess.Popen([program, *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def free_places() -> tuple[int, str]:
    """Return a public port and an internal address: 8080 and 127.0.0.1, or free ones if these are taken."""
    port = next(port for port in range(PUBLIC_PORT, PUBLIC_PORT + 100) if is_free("", port))
    addresses = (f"127.0.0.{number}" for number in range(1, 100))
    return port, next(address for address in addresses if is_free(address, INTERNAL_PORT))


def when_ready(stack: subprocess.Popen[str]) -> str:
    """Wait until every API is ready or failing, and return the example's URL."""
    assert stack.stdout is not None, "started with a pipe"
    line = stack.stdout.readline()
    if not line:
        raise DemoFailed(f"`insula up` ended with exit code {stack.wait()}; its own message is above")
    ready = json.loads(line)
    for api in ready["apis"]:
        if api["state"] != "ready":
            raise DemoFailed(f"the API {api['name']} is {api['state']}: {api['reason']}")
    return f"{ready['public']}/language-identifier"


def ask(url: str, question: Question) -> None:
    """Submit the question, wait until the workload ends, and check the result."""
    print(f"\n$ {curl(url, question)}")
    body = call(Request(url, data=question.payload.encode(), headers={"Content-Type": question.content_type}))
    print(body)
    workload_url = f"{url}/{json.loads(body)['id']}"
    print(f"$ curl {workload_url}")
    workload = follow(workload_url)
    if workload["status"] != "completed" or workload["result"]["language"] != question.language:
        raise DemoFailed(f"expected the language {question.language!r} for {question.payload!r}")


def follow(workload_url: str) -> dict[str, Any]:
    """GET the workload until it ends, print each reply that differs from the last, and return the last reply."""
    deadline = time.monotonic() + ANSWER_S
    printed = ""
    while time.monotonic() < deadline:
        body = call(Request(workload_url))
        if body != printed:
            print(body, flush=True)
            printed = body
        workload: dict[str, Any] = json.loads(body)
        if workload["status"] not in {"in_queue", "in_progress"}:
            return workload
        time.sleep(0.05)
    raise DemoFailed(f"{workload_url} had no result within {ANSWER_S} s")


def curl(url: str, question: Question) -> str:
    """Return the curl command that sends the same request."""
    return f"curl {url} -H 'Content-Type: {question.content_type}' -d {shlex.quote(question.payload)}"


def call(request: Request) -> str:
    """Send a request to the stack and return the body of the reply."""
    try:
        with urlopen(request, timeout=ANSWER_S) as response:
            body: bytes = response.read()
            return body.decode()
    except HTTPError as error:
        raise DemoFailed(f"{request.get_method()} {request.full_url} answered {error.code}: {error.read()!r}") from None
    except OSError as error:
        raise DemoFailed(f"{request.get_method()} {request.full_url} had no answer: {error}") from None


def stop(stack: subprocess.Popen[str], *, told_by_terminal: bool) -> None:
    """Stop the stack and wait. If the terminal sent it Ctrl-C, no signal is sent: a second one would kill the parts."""
    if not told_by_terminal:
        stack.terminate()
    try:
        stack.wait(STOP_S)
    except subprocess.TimeoutExpired:
        print(f"demo: the stack did not stop within {STOP_S} s and is killed", file=sys.stderr)
        stack.kill()


if __name__ == "__main__":
    sys.exit(main())
