"""The settings of the edge, from its environment. `insula up` has options instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from insula.variables import Text, Whole

SUBMIT: Final = Text("INSULA_SUBMIT", "`host:port` of SubmitService", required=True)
RESULTS: Final = Text("INSULA_RESULTS", "`host:port` of ResultsService", required=True)
S3: Final = Text(
    "INSULA_S3", "`host:port` of the S3 server that workers reach at port 8333 of the edge; none without it"
)
PAYLOAD_BYTES_MAX: Final = Whole(
    "INSULA_PAYLOAD_BYTES_MAX", "bytes of the largest payload; submit and Envoy have the same limit", 2 * 1024**3
)
CORS_ORIGINS: Final = Text("INSULA_CORS_ORIGINS", "origins whose pages may read replies, separated by commas", "*")
ADDRESS_REQUESTS_PER_S: Final = Text(
    "INSULA_ADDRESS_REQUESTS_PER_S", "requests per second that each client address may send; 0 means no limit", "0"
)
GRACE_S: Final = Whole("INSULA_GRACE_S", "seconds that running requests have to end after SIGTERM", 30)


@dataclass(frozen=True)
class Settings:
    """`submit`, `results` and `s3` are host:port; `s3` may be empty. `address_requests_per_s` is 0 without a limit."""

    submit: str
    results: str
    s3: str
    payload_bytes_max: int
    cors_origins: tuple[str, ...]
    address_requests_per_s: int
    grace: timedelta

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from the environment variables. Raises SettingInvalid, which names the variable."""
        limit = ADDRESS_REQUESTS_PER_S.read(environment)
        return cls(
            submit=SUBMIT.read(environment),
            results=RESULTS.read(environment),
            s3=S3.read(environment),
            payload_bytes_max=PAYLOAD_BYTES_MAX.read(environment),
            cors_origins=tuple(filter(None, map(str.strip, CORS_ORIGINS.read(environment).split(",")))),
            address_requests_per_s=0 if limit == "0" else _whole(limit),
            grace=timedelta(seconds=GRACE_S.read(environment)),
        )


def _whole(text: str) -> int:
    name = ADDRESS_REQUESTS_PER_S.name
    return Whole(name, ADDRESS_REQUESTS_PER_S.meaning, 1).read({name: text})
