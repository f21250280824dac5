"""Prepares SeaweedFS for Insula, by HTTP calls to its file server, the filer: path rules and the bucket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import socket
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from insula_local.seaweedfs.storage import FILER_SETTINGS

log = logging.getLogger(__name__)

SETTINGS_PATH: Final = "/etc/seaweedfs/filer.conf"
BUCKETS_PATH: Final = "/buckets"
RETRY_S: Final = 0.05
CALL_S: Final = 5
_TOKEN_LIFE_S: Final = 60


class StorageNotReady(Exception):
    """SeaweedFS does not answer yet."""


class _FilerConnection(HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_S)
        self.sock.connect(str(self._path))


async def prepare(filer: Path, token_key: str, bucket: str) -> None:
    """Wait until SeaweedFS answers, then set its path rules and make the bucket. Safe to repeat."""
    while True:
        try:
            await asyncio.to_thread(_prepare, filer, token_key, bucket)
        except StorageNotReady as error:
            log.debug("storage not ready yet", extra={"error": str(error)})
            await asyncio.sleep(RETRY_S)
        else:
            return


def _prepare(filer: Path, token_key: str, bucket: str) -> None:
    """Write the path rules of the filer if they differ. Make the folder of the bucket if it is missing."""
    wanted = json.dumps(FILER_SETTINGS).encode()
    if _call(filer, token_key, "GET", SETTINGS_PATH) != wanted:
        _call(filer, token_key, "PUT", SETTINGS_PATH, wanted)
    folder = f"{BUCKETS_PATH}/{bucket}/"
    if _call(filer, token_key, "GET", folder) is None:
        _call(filer, token_key, "POST", folder)


def _call(filer: Path, token_key: str, method: str, path: str, body: bytes | None = None) -> bytes | None:
    connection = _FilerConnection(filer)
    try:
        connection.request(method, path, body, {"Authorization": f"BEARER {_token(token_key)}"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        raise StorageNotReady(f"the filer does not answer: {error}") from error
    finally:
        connection.close()
    if response.status == 404:
        return None
    if response.status >= 300:
        raise StorageNotReady(f"the filer answered {method} with {response.status}: {answer[:200]!r}")
    return answer


def _token(key: str) -> str:
    """Return a JSON Web Token (HS256), which the filer requires in each HTTP request. It expires after 60 s."""
    expires = {"exp": int(time.time()) + _TOKEN_LIFE_S}
    message = b".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, expires))
    return (message + b"." + _base64(hmac.new(key.encode(), message, hashlib.sha256).digest())).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
