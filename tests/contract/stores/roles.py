"""The endpoints from which a process gets the keys of its role. Each demands its token."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

from tests.contract.stores.seaweedfs import KEYS

TOKEN = "token-of-the-tests"
ROLE = "arn:aws:iam::123456789012:role/insula"
EXPIRES = "2099-01-01T00:00:00Z"
ROLES_PATH = "/latest/meta-data/iam/security-credentials/"
ASSUMED = """
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>{AWS_ACCESS_KEY_ID}</AccessKeyId><SecretAccessKey>{AWS_SECRET_ACCESS_KEY}</SecretAccessKey>
<SessionToken></SessionToken><Expiration>{expires}</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>
"""


class Roles(ThreadingHTTPServer):
    """IMDSv2 of an instance, the endpoint of a container, and STS. `granted` names the endpoints that returned keys."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.granted: list[str] = []

    @property
    def url(self) -> str:
        """URL of all three."""
        return f"http://127.0.0.1:{self.server_port}"


class _Endpoint(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        ours = self.path == "/latest/api/token" and self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(TOKEN if ours else None)

    def do_GET(self) -> None:
        keys = {"AccessKeyId": KEYS["AWS_ACCESS_KEY_ID"], "SecretAccessKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
        role = json.dumps({"Code": "Success", **keys, "Token": "", "Expiration": EXPIRES})
        sent = (self.path, self.headers["x-aws-ec2-metadata-token"], self.headers["authorization"])
        match sent:
            case (path, token, None) if path == ROLES_PATH and token == TOKEN:
                self._answer("insula")
            case (path, token, None) if path == f"{ROLES_PATH}insula" and token == TOKEN:
                self._answer(role, "instance")
            case ("/container", None, token) if token == TOKEN:
                self._answer(role, "container")
            case _:
                self._answer(None)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        wanted = {"Action": ["AssumeRoleWithWebIdentity"], "WebIdentityToken": [TOKEN], "RoleArn": [ROLE]}
        if wanted.items() <= form.items():
            self._answer(ASSUMED.format(**KEYS, expires=EXPIRES), "web identity")
        else:
            self._answer(None)

    def _answer(self, text: str | None, granted: str = "") -> None:
        if granted:
            cast(Roles, self.server).granted.append(granted)
        self.send_response(401 if text is None else 200)
        body = (text or "").encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def running_roles() -> Generator[Roles]:
    """Run the endpoints until the block ends."""
    server = Roles()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
