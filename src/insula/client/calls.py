"""Parts of both clients: the channel, the requests, and the time left to wait."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final
from urllib.parse import urlsplit

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.duration_pb2 import Duration

from insula.client.payloads import Outgoing
from insula.errors import InvalidArgument
from insula.v1.results_service_pb2 import FetchWorkloadsRequest, GetWorkloadRequest
from insula.v1.submit_service_pb2 import (
    SubmitWorkloadRequest,
    SubmitWorkloadsRequest,
    SubmitWorkloadsResponse,
    UploadWorkloadRequest,
)
from insula.v1.submit_service_pb2_grpc import SubmitServiceStub

# The longest wait that the service accepts in one call.
WAIT_MAX_S: Final = 60.0
# Time for the reply itself, in addition to the wait that the call requests.
ANSWER_TIMEOUT_S: Final = 30.0
# A result of 64 MiB, and the rest of its message.
_REPLY_BYTES_MAX: Final = 65 * 2**20

# Reads are retried after UNAVAILABLE. A submit has no entry: gRPC retries it only if nothing was sent.
_SERVICE_CONFIG: Final = json.dumps(
    {
        # The edge allows 100 calls at once on a connection; further ones open another.
        "connectionScaling": {"maxConnectionsPerSubchannel": 10},
        "methodConfig": [
            {
                "name": [{"service": "insula.v1.ResultsService"}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
            # No retry by gRPC: the client itself reconnects a watch.
            {"name": [{"service": "insula.v1.ResultsService", "method": "WatchWorkload"}]},
        ],
    }
)
_OPTIONS: Final[tuple[tuple[str, str | int], ...]] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.max_receive_message_length", _REPLY_BYTES_MAX),
    # Reconnect to a restarted edge within seconds; gRPC's default backoff grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A long wait detects within a minute that the server has ended.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: gRPC's target, whether to use TLS, and the channel's options."""

    address: str
    tls: bool
    options: tuple[tuple[str, str | int], ...]


def target_of(url: str) -> Target:
    """Return the target of `url`, such as http://127.0.0.1:8080. Raises InvalidArgument for a malformed URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidArgument(f'url: must look like "http://127.0.0.1:8080" (got {url!r})')
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username or parts.password:
        raise InvalidArgument(f"url: must name host and port only (got {url!r})")
    tls = parts.scheme == "https"
    loopback = host in {"localhost", "::1"} or host.startswith("127.")
    # A proxy cannot reach the loopback addresses of this machine.
    options = (*_OPTIONS, ("grpc.enable_http_proxy", 0)) if loopback else _OPTIONS
    host = f"[{host}]" if ":" in host else host
    return Target(f"{host}:{port or (443 if tls else 80)}", tls, options)


def open_channel(target: Target) -> grpc.Channel:
    """Return a channel to `target`. The channel connects when it is first used."""
    if target.tls:
        return grpc.secure_channel(target.address, grpc.ssl_channel_credentials(), options=target.options)
    return grpc.insecure_channel(target.address, options=target.options)


def submit_request(api: str, outgoing: Outgoing) -> SubmitWorkloadRequest:
    """Return the request of a submit in one message, with the whole payload."""
    return SubmitWorkloadRequest(api=api, content_type=outgoing.content_type, payload=outgoing.body or b"")


class UploadRequests:
    """Makes the messages of one upload. The first message has the API and the content type, besides the first piece."""

    def __init__(self, api: str, content_type: str) -> None:
        self._first: UploadWorkloadRequest | None = UploadWorkloadRequest(
            api=api, payload=HttpBody(content_type=content_type)
        )

    def carrying(self, piece: bytes) -> UploadWorkloadRequest:
        """Return the next message, with `piece` as its part of the payload."""
        message, self._first = self._first or UploadWorkloadRequest(), None
        message.payload.data = piece
        return message

    def rest(self) -> list[UploadWorkloadRequest]:
        """Return the messages to send after the last piece: none, or the first message if the payload has no piece."""
        return [self._first] if self._first else []


def get_request(api: str, id: str, wait_s: float) -> GetWorkloadRequest:
    """Return the request that reads a workload. The service answers at the workload's end, or after `wait_s`."""
    return GetWorkloadRequest(api=api, id=id, wait=_wait(wait_s))


def fetch_request(api: str, ids: Iterable[str], wait_s: float) -> FetchWorkloadsRequest:
    """Return the request that reads many workloads. The service sends each at its end, or after `wait_s`."""
    return FetchWorkloadsRequest(api=api, ids=ids, wait=_wait(wait_s))


def _wait(wait_s: float) -> Duration | None:
    if not wait_s:
        return None
    wait = Duration()
    wait.FromMilliseconds(int(wait_s * 1000))
    return wait


class Conversation:
    """A running call of SubmitWorkloads. `send` sends a batch. `next` waits for the next answer."""

    def __init__(self, stub: SubmitServiceStub) -> None:
        self._batches: SimpleQueue[SubmitWorkloadsRequest | None] = SimpleQueue()
        self._answers = stub.SubmitWorkloads(iter(self._batches.get, None))

    def send(self, batch: SubmitWorkloadsRequest) -> None:
        """Send a batch without waiting. If the call has failed, `next` raises its error."""
        self._batches.put(batch)

    def cancel(self) -> None:
        """End the call, and gRPC's thread that waits for batches."""
        self._batches.put(None)
        self._answers.cancel()

    def __next__(self) -> SubmitWorkloadsResponse:
        return next(self._answers)


class Patience:
    """The remaining time of a wait, which may take several calls, because one call waits at most WAIT_MAX_S."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout

    def left_s(self) -> float | None:
        """Return the remaining seconds, 0 once the time is over; None if there is no limit."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def next_wait_s(self) -> float:
        """Return how many seconds the next call waits: at most WAIT_MAX_S, 0 once the time is over."""
        left_s = self.left_s()
        return WAIT_MAX_S if left_s is None else min(WAIT_MAX_S, left_s)

    def give_up(self, api: str, id: str) -> TimeoutError:
        """Return the error to raise once the time is over."""
        return TimeoutError(f"workload {id} of {api} has not ended within {self._timeout:g} s; it is still kept")
