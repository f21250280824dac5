"""The metadata of a submit (over HTTP: its headers): content type, encoding, Idempotency-Key, trace."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from insula.errors import ContentTypeMissing, InvalidArgument
from insula_submit.encodings import is_gzip

HEADER_BYTES_MAX: Final = 255
TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, level 1. Anything else is ignored, as that standard requires."""
QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
"""A String of RFC 9651, not empty: printable ASCII; a backslash occurs only before a quote or a backslash."""


@dataclass(frozen=True)
class Envelope:
    """The values from the metadata. `idempotency_key` and `traceparent` may be empty."""

    content_type: str
    idempotency_key: str = ""
    traceparent: str = ""
    is_gzip: bool = False

    @classmethod
    def read(cls, content_type: str, metadata: Iterable[tuple[str, str | bytes]]) -> Self:
        """Read the headers. Raises ContentTypeMissing, EncodingUnsupported or InvalidArgument, naming the header."""
        if not content_type:
            raise ContentTypeMissing
        sent: dict[str, list[str]] = {}
        for name, value in metadata:
            if isinstance(value, str):
                sent.setdefault(name, []).append(value)
        key = unquoted(sent.get("idempotency-key", [""])[-1])
        for name, value in (("Content-Type", content_type), ("Idempotency-Key", key)):
            if len(value.encode()) > HEADER_BYTES_MAX:
                raise InvalidArgument(f'the "{name}" header must be at most {HEADER_BYTES_MAX} bytes long')
        traceparent = sent.get("traceparent", [""])[-1]
        return cls(
            content_type,
            key,
            traceparent if TRACEPARENT.fullmatch(traceparent) else "",
            is_gzip(content_type, ",".join(sent.get("content-encoding", []))),
        )

    @property
    def idempotency_hash(self) -> str:
        """The digest under which the Idempotency-Key is stored."""
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest()


def unquoted(key: str) -> str:
    r"""Return the key without the quotes that the IETF's draft of Idempotency-Key requires: "a\"b" becomes a"b.

    A key that does not begin with a quote is unchanged. Raises InvalidArgument if one that does is not a quoted string.
    """
    if not key.startswith('"'):
        return key
    quoted = QUOTED.fullmatch(key)
    if quoted is None:
        raise InvalidArgument(
            'the "Idempotency-Key" header begins with a quote but is not a quoted string: end it with a quote, put a '
            "backslash before each quote and backslash within, and use printable ASCII; or send the key without quotes"
        )
    return re.sub(r"\\(.)", r"\1", quoted[1])
