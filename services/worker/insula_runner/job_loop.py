"""The job loop: calls `handle_async` for one workload after the other, and sends one answer for each."""

from __future__ import annotations

import inspect
import io
import json
import time
from typing import Any, Callable, Dict, Iterable, MutableMapping, Optional, Tuple, Type

from insula_runner.channel import Channel
from insula_runner.frames import Frame, FrameInvalid
from insula_runner.handler.event_loop import EventLoop
from insula_runner.output import Output
from insula_runner.payload import PayloadInvalid, decode_payload
from insula_runner.result import ResultInvalid, ResultTooLarge, encode_result
from insula_runner.user_code import Raised, call_user_code, leave_if_forked

REASON_BY_ERROR: Dict[Type[BaseException], str] = {
    PayloadInvalid: "PAYLOAD_INVALID",
    ResultInvalid: "RESULT_INVALID",
    ResultTooLarge: "RESULT_TOO_LARGE",
}
HANDLER_ERROR = "HANDLER_ERROR"


class Jobs:
    """Runs jobs on one handler instance until the supervisor closes the channel."""

    def __init__(
        self,
        channel: Channel,
        output: Output,
        loop: EventLoop,
        handle_async: Callable[..., Any],
        arguments: Tuple[str, ...],
        environment: MutableMapping[str, str],
    ) -> None:
        """`environment` is os.environ."""
        self._channel = channel
        self._output = output
        self._handle_async = handle_async
        self._takes_payload = "payload" in arguments
        self._takes_request_id = "request_id" in arguments
        self._loop = loop
        self._environment = environment

    def serve(self) -> None:
        """Answer jobs in order until end of file. Raises FrameInvalid, and OSError if the supervisor has ended."""
        while True:
            if not self._channel.has_frame:
                self._output.end()  # if there is a next job, its `begin` marks the end as well: half the writes
            frame = self._receive()
            if frame is None:
                call_user_code(self._loop.close)
                return
            if frame.type != "job":
                raise FrameInvalid(f"expected a job, got {frame.type!r}")
            header, payload = frame.header, receive_payload(self._receive, frame)
            del frame
            if payload is not None:
                self._answer(header, payload)

    def _receive(self) -> Optional[Frame]:
        return self._channel.receive(self._loop.wait_readable if self._loop.runs else None)

    def _answer(self, header: Dict[str, Any], payload: bytes) -> None:
        reach_directly(header.get("direct_hosts", ()), self._environment)
        self._output.begin(header["id"], header.get("trace_id", ""))
        started = time.perf_counter()
        outcome = call_user_code(lambda: self._perform(header, payload))
        leave_if_forked(self._channel, outcome)
        answer = {"id": header["id"], "handler_s": time.perf_counter() - started}
        if isinstance(outcome, Raised):
            reason = reason_of(outcome.error)
            self._channel.send({"type": "failure", "reason": reason, **answer}, failure_body(outcome, reason))
        else:
            self._channel.send({"type": "result", **answer}, outcome.value)

    def _perform(self, header: Dict[str, Any], payload: bytes) -> bytes:
        """Decode the payload, call the handler, encode the result. Any step may raise."""
        arguments = {}
        decoded = decode_payload(header["content_type"], payload)
        if self._takes_payload:
            arguments["payload"] = decoded
        if self._takes_request_id:
            arguments["request_id"] = header["id"]
        result = self._handle_async(**arguments)
        if inspect.isawaitable(result):
            result = self._loop.finish(result)
        return encode_result(result)


def reach_directly(hosts: Iterable[str], environment: MutableMapping[str, str]) -> None:
    """Add hosts to NO_PROXY. Clients that read it for each request, such as requests and urllib, then use no proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in environment.get(name, "").split(",") if host]
        new = [host for host in hosts if host not in known]
        if new and known != ["*"]:
            environment[name] = ",".join([*known, *new])


def receive_payload(receive: Callable[[], Optional[Frame]], job: Frame) -> Optional[bytes]:
    """Read the chunks of a job, and return its whole payload; None if the supervisor aborted the job.

    Raises FrameInvalid, and EOFError if the supervisor closes the channel before the last chunk.
    """
    payload_bytes = job.header["payload_bytes"]
    if len(job.body) == payload_bytes:
        return job.body
    assembled = io.BytesIO()
    assembled.write(job.body)
    while assembled.tell() < payload_bytes:
        frame = receive()
        if frame is None:
            raise EOFError("the supervisor closed the channel within a payload")
        if frame.type == "abort":
            return None
        if frame.type != "chunk":
            raise FrameInvalid(
                f"the payload of a job is incomplete: expected a frame of type 'chunk', got {frame.type!r}"
            )
        assembled.write(frame.body)
    return assembled.getvalue()


def reason_of(error: BaseException) -> str:
    """Return the failure's reason. Every error except our own three was raised by user code."""
    return REASON_BY_ERROR.get(type(error), HANDLER_ERROR)


def failure_body(raised: Raised, reason: str) -> bytes:
    """Return a failure as JSON. Our own errors have no traceback: their text is enough."""
    if reason == HANDLER_ERROR:
        failure = {"message": raised.message, "traceback": raised.traceback}
    else:
        failure = {"message": raised.text, "traceback": ""}
    return json.dumps(failure).encode("ascii")
