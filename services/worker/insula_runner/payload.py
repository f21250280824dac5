"""Decodes a payload for the handler by its Content-Type.

application/json becomes parsed JSON, and text/plain becomes str. Every other type stays bytes, even one with `+json`.
"""

from __future__ import annotations

import json
import re
from typing import Any

# One parameter: its name, and its value in quotation marks or up to the next one.
_PARAMETER = re.compile(r""";\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))""")


class PayloadInvalid(Exception):
    """The payload does not match its Content-Type. The error text names the type."""


def decode_payload(content_type: str, payload: bytes) -> Any:
    """Return parsed JSON for application/json, str for text/plain, and the same bytes for every other type.

    Raises PayloadInvalid if the bytes do not decode.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json":
        return decode_json(content_type, payload)
    if media_type == "text/plain":
        return decode_text(content_type, payload)
    return payload


def decode_json(content_type: str, payload: bytes) -> Any:
    """Parse a payload with Python's json, as Cortex did. That accepts UTF-16, UTF-32 and NaN too."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        text = f"the uploaded payload, with content-type {content_type}, could not be decoded to JSON"
        raise PayloadInvalid(f"{text}: {error}") from error


def decode_text(content_type: str, payload: bytes) -> str:
    """Decode a payload by the charset in its Content-Type, or as UTF-8 if there is none."""
    charset = find_charset(content_type) or "utf-8"
    text = f"the uploaded payload, with content-type {content_type}, could not be decoded to text"
    try:
        return payload.decode(charset)
    except LookupError as error:
        raise PayloadInvalid(f"{text}: the charset {charset!r} is not known") from error
    except ValueError as error:
        raise PayloadInvalid(f"{text}: {error}") from error


def find_charset(content_type: str) -> str:
    """Return the first charset parameter, or an empty string. Text within another parameter's quotes is ignored."""
    for name, quoted, bare in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            return str(quoted or bare.strip())
    return ""
