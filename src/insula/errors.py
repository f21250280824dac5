"""Every error Insula raises on purpose.

    InsulaError
    ├── InvalidArgument             the caller sent something malformed
    │   ├── ContentTypeMissing
    │   ├── EncodingInvalid         a payload does not match its Content-Encoding
    │   ├── EncodingUnsupported
    │   ├── PayloadTooLarge
    │   └── ProjectInvalid          a project directory or its cortex.yaml is refused
    ├── NotFound
    │   ├── ApiNotFound
    │   └── WorkloadNotFound
    ├── Unauthenticated             an admin service was called without its token
    ├── EndpointTaken               another API owns the endpoint
    ├── IdempotencyConflict         an Idempotency-Key was used for another request
    ├── ResourceExhausted           try again later
    │   ├── QueueFull
    │   └── StoreFull
    ├── StoreUnavailable            Redis or S3 does not answer
    │   ├── ObjectUnreadable        S3 answers, but does not return one object
    │   └── StorageFull             the disk of the stores is full
    └── LeaseLost                   a later attempt holds the workload, or it has ended

Each text has the cause and what to do. `insula.rpc.statuses` maps every leaf to its gRPC status code. The
first paragraph of each docstring is in docs/errors.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

NAME_CHARS_SHOWN = 200
"""Most characters of an unknown name in an error text, because errors are sent in headers of limited size."""


class InsulaError(Exception):
    """Base class of Insula's errors. Catch it to catch every error that Insula raises on purpose.

    `told` lists the attributes that clients get in addition to the text.
    """

    told: ClassVar[tuple[str, ...]] = ()


class InvalidArgument(InsulaError):
    """The request is malformed; the message names the field. Correct the request."""


class ContentTypeMissing(InvalidArgument):
    """The request has no Content-Type. Send one, because it decides the type of the handler's payload."""

    def __init__(self) -> None:
        super().__init__('the "Content-Type" header is missing; send one, such as "application/json"')


class EncodingInvalid(InvalidArgument):
    """A payload does not match its Content-Encoding; nothing was stored. Correct the request."""


class EncodingUnsupported(InvalidArgument):
    """JSON or text came in a Content-Encoding other than gzip; nothing was stored. Send gzip, or none."""

    told = ("encoding",)

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding[:NAME_CHARS_SHOWN]
        super().__init__(
            f"the Content-Encoding {self.encoding!r} of JSON and text is not supported; send gzip or identity. "
            "Payloads of other types may have any encoding: the handler gets the bytes unchanged"
        )


class PayloadTooLarge(InvalidArgument):
    """The payload is larger than INSULA_PAYLOAD_BYTES_MAX, 2 GiB by default; nothing was stored. Send less."""

    told = ("limit_bytes",)

    def __init__(self, limit_bytes: int, advice: str = "") -> None:
        """`advice` is appended to the text, if the caller can do something."""
        super().__init__(f"the payload is larger than the limit of {limit_bytes} bytes{advice}")
        self.limit_bytes = limit_bytes


class ProjectInvalid(InvalidArgument):
    """A project directory, its configuration or its handler is refused. Correct the file and key in the message."""


class NotFound(InsulaError):
    """The URL names neither an API nor a workload. Correct the path."""


class ApiNotFound(NotFound):
    """No API has this name or endpoint. `insula get` lists those that are deployed."""

    told = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name[:NAME_CHARS_SHOWN]
        super().__init__(f"there is no API at {self.name!r}; `insula get` lists the deployed ones")


class WorkloadNotFound(NotFound):
    """No workload has this id: it never existed, or its retention is over. Correct the id, or submit again."""

    told = ("api", "id")

    def __init__(self, api: str, id: str) -> None:
        self.api = api
        self.id = id[:NAME_CHARS_SHOWN]
        super().__init__(
            f"there is no workload {self.id!r} of {api}; by default a workload is kept for 7 days after its end"
        )


class Unauthenticated(InsulaError):
    """A command called an admin service over TCP without the right token. Set INSULA_ADMIN_TOKEN for the command."""

    def __init__(self) -> None:
        super().__init__(
            "the admin token is missing or wrong; set INSULA_ADMIN_TOKEN, or INSULA_ADMIN_TOKEN_FILE, to the service's"
        )


class EndpointTaken(InsulaError):
    """Another API owns the endpoint. Choose another networking.endpoint."""

    told = ("endpoint", "owner")

    def __init__(self, endpoint: str, owner: str) -> None:
        super().__init__(f"the endpoint {endpoint} belongs to the API {owner}; choose another networking.endpoint")
        self.endpoint = endpoint
        self.owner = owner


class IdempotencyConflict(InsulaError):
    """The Idempotency-Key was used for another request within the last 24 h; nothing was stored. Use a new key."""

    told = ("api",)

    def __init__(self, api: str) -> None:
        super().__init__(
            f"this Idempotency-Key was used for a request to {api} with another body or Content-Type; "
            "use a new key for a new request"
        )
        self.api = api


class ResourceExhausted(InsulaError):
    """A limit is reached, such as that of concurrent calls; nothing was stored. Repeat the call after Retry-After."""

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(ResourceExhausted):
    """The API's queue is at its limit; nothing was stored. Repeat the request after Retry-After."""

    told = ("api", "limit")

    def __init__(self, api: str, limit: int, retry_after: timedelta) -> None:
        super().__init__(f"the queue of {api} holds its limit of {limit} workloads; try again later", retry_after)
        self.api = api
        self.limit = limit


class StoreFull(ResourceExhausted):
    """Redis is at its `maxmemory`; nothing was stored. Repeat the request after Retry-After."""

    def __init__(self) -> None:
        super().__init__("Redis is at its memory limit; try again later, or raise its maxmemory", timedelta(seconds=10))


class StoreUnavailable(InsulaError):
    """Redis or S3 does not answer; a submit may have been accepted. Repeat it with the same Idempotency-Key.

    `store` is the store's name, empty in a client. Clients get only `summary`. `detail` has the store's address and the
    operation that failed.
    """

    def __init__(self, store: str, detail: str = "", *, summary: str = "") -> None:
        self.store = store
        self.detail = detail
        self.summary = summary or f"{store} does not answer"
        super().__init__(f"{self.summary}: {detail}" if detail else self.summary)


class ObjectUnreadable(StoreUnavailable):
    """S3 answers, but does not return one object, such as a result. Repeat the request after Retry-After."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("S3", detail, summary="S3 does not return one object")


class StorageFull(StoreUnavailable):
    """The disk of the data directory is full; nothing was stored. Free some space, then repeat the request."""

    def __init__(self) -> None:
        full = "storage is full; free some space on the disk that holds Insula's data"
        super().__init__("storage", summary=full)


class LeaseLost(InsulaError):
    """The attempt no longer holds its workload: a later attempt does, or the workload has ended. Write nothing more."""

    told = ("id", "attempt")

    def __init__(self, id: str, attempt: int) -> None:
        super().__init__(f"attempt {attempt} of workload {id} has lost its lease")
        self.id = id
        self.attempt = attempt
