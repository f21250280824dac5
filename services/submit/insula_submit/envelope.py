"""The metadata of a submit (over HTTP: its headers): content type, encoding, Idempotency-Key, trace."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

from insula.errors import ContentTypeMissing, InvalidArgument
from insula_submit.encodings import is_gzip

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
HEADER_BYTES_MAX: Final = 255
NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
"""The type of each line of NDJSON."""
TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""A `traceparent` of W3C Trace Context, level 1. Other values are ignored, as the standard requires."""
QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
"""A String of RFC 9651 that is not empty: printable ASCII, with a backslash before each quote and backslash."""


@dataclass(frozen=True)
class Envelope:
    """What the metadata says about a payload. `idempotency_key` and `traceparent` may be empty.

    `number` counts the payloads of a batch from 1; 0 means that the payload is alone in its request.
    """

    content_type: str
    idempotency_key: str = ""
    traceparent: str = ""
    is_gzip: bool = False
    number: int = 0

    @classmethod
    def read(cls, content_type: str, metadata: Metadata) -> Self:
        """Read the metadata. Raises ContentTypeMissing, EncodingUnsupported or InvalidArgument.

        The text of the error names the header.
        """
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
        """The digest of the Idempotency-Key, and of `number` if it is not 0.

        No key contains the line break between them, so different pairs have different digests.
        """
        key = f"{self.idempotency_key}\n{self.number}" if self.number else self.idempotency_key
        return hashlib.sha256(key.encode()).hexdigest()

    def numbered(self, number: int) -> Self:
        """Return the envelope of the payload with this number in a batch."""
        return replace(self, number=number)

    @property
    def digested_first(self) -> bytes:
        """The bytes that are hashed before the payload for a request's digest: the content type and a zero byte."""
        return self.content_type.encode() + b"\0"


def envelope_of_lines(content_type: str, metadata: Metadata) -> Envelope:
    """Return the envelope of each line of an NDJSON body. Raises InvalidArgument for another type of body.

    Also raises the errors of Envelope.read.
    """
    envelope = Envelope.read(content_type and JSON, metadata)
    if content_type.partition(";")[0].strip().lower() != NDJSON:
        raise InvalidArgument(f'the "Content-Type" header of a batch must be {NDJSON}; each line is {JSON}')
    return envelope


def unquoted(key: str) -> str:
    r"""Return the key without the quotes that the IETF's draft of Idempotency-Key requires: "a\"b" becomes a"b.

    A key that does not begin with a quote is unchanged. Raises InvalidArgument for a key that begins with a quote but
    is not a quoted string.
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
