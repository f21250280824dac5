"""S3 clients for the endpoint in the AWS_* variables, over a Unix socket if one is set.

The socket replaces only the connection: requests are signed for the endpoint's host, as over TCP.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.config import Config
    from types_boto3_s3 import S3Client

_BEFORE_SEND: Final = "before-send.s3"


def client(config: Config, path: Path | None) -> S3Client:
    """Return a thread-safe client. `path` is the Unix socket of S3; with None, the client connects to the endpoint."""
    s3 = boto3.session.Session().client("s3", config=config)  # the default session is not thread-safe
    if path is not None:
        session = _UnixSession(path, config)

        def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
            return session.send(request)

        events: Any = s3.meta.events  # the stubs do not allow a handler that returns a response
        events.register(_BEFORE_SEND, send)
    return s3


class _UnixSession(URLLib3Session):
    """botocore's HTTP session, with all connections to one Unix socket."""

    def __init__(self, path: Path, config: Config) -> None:
        settings: Any = config  # botocore adds the options as attributes at run time
        timeout_s: Any = (settings.connect_timeout, settings.read_timeout)  # the stubs allow one number only
        super().__init__(timeout=timeout_s, max_pool_connections=settings.max_pool_connections)

        class Connection(AWSHTTPConnection):
            def _new_conn(self) -> socket.socket:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(settings.connect_timeout)
                try:
                    connection.connect(str(path))
                except OSError as error:
                    connection.close()
                    raise NewConnectionError(self, str(error)) from error
                return connection

        class Pool(AWSHTTPConnectionPool):
            ConnectionCls = Connection

        manager: Any = vars(self)["_manager"]  # the stubs lack this attribute
        manager.pool_classes_by_scheme = {"http": Pool}
