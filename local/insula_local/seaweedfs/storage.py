"""SeaweedFS as Insula's S3: its identities, their permissions, and its write settings.

There are two identities. The services' identity may do everything. The handlers' identity may create and use buckets,
but a policy denies it every action on Insula's own bucket. The policy belongs to the identity, because SeaweedFS does
not apply a bucket policy to the source of a copy or to a batch of deletes. Unsigned requests may read the handlers'
objects, as in a public bucket. The filer, SeaweedFS' file server, checks no permissions. It requires tokens signed with
a key that only SeaweedFS and the module `filer` have.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final, Self, cast

BUCKET: Final = "insula"
REGION: Final = "us-east-1"
FILER_STORE: Final = '[sqlite]\nenabled = true\ndbFile = "./filer.db"\n'
"""SeaweedFS' filer.toml. SQLite syncs every change to disk. The default, LevelDB, does not sync, and takes 50 MB more
memory after a restart."""
FILER_SETTINGS: Final = {
    "version": 1,
    "locations": [{"locationPrefix": "/buckets/", "fsync": True, "collection": "all_buckets"}],
}
"""SeaweedFS' path rules. An object is synced to disk before the reply to its PUT. All buckets share one collection of
volumes, because a volume takes 128 MB. Deleting a bucket deletes the collection of the same name, so the shared
collection has a name that no bucket can have."""
_TOKENS: Final = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
MEMORY: Final = {"GOMEMLIMIT": "160MiB", "GOGC": "35"}
"""Variables of SeaweedFS that limit its memory. After large uploads it takes 155 MB, and 500 to 700 without the limit.
It writes objects of 20 MiB at 60 % of the speed without the limit; for 64 KiB and 1 MiB, throughput and CPU time do not
change. A limit of 128 MiB saves 30 MB more, but with a few buckets the garbage collector then runs all the time, and
takes a tenth of a core. GOGC has an effect below the limit: 35 instead of Go's 100 saves 3 to 10 MB before the first
upload."""


@dataclass(frozen=True)
class Keys:
    """The S3 credentials of one data directory, for services and for handlers. They never change.

    `token_key` signs the tokens for the filer and the volume server.
    """

    access_key: str
    secret_key: str
    handlers_access_key: str
    handlers_secret_key: str
    token_key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the output of `render`. Generates missing keys. Raises ValueError or TypeError for malformed text."""
        new = {
            "access_key": "INSULA" + secrets.token_hex(7).upper(),
            "secret_key": secrets.token_urlsafe(30),
            "handlers_access_key": "HANDLERS" + secrets.token_hex(6).upper(),
            "handlers_secret_key": secrets.token_urlsafe(30),
            "token_key": secrets.token_hex(32),
        }
        return cls(**new | cast("dict[str, str]", json.loads(text)))

    def render(self) -> str:
        """Return the keys as JSON."""
        return json.dumps(asdict(self))


def identities(keys: Keys) -> str:
    """Return SeaweedFS' file of identities: credentials and permissions, as JSON."""
    # .system has the owner of each bucket.
    own = [f"arn:aws:s3:::{bucket}{what}" for bucket in (BUCKET, ".system") for what in ("", "/*")]

    def policy(*allowed: str) -> dict[str, object]:
        return {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": allowed, "Resource": ["arn:aws:s3:::*"]},
                {"Effect": "Deny", "Action": "s3:*", "Resource": own},
            ],
        }

    return json.dumps(
        {
            "identities": [
                {
                    "name": "insula",
                    "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                },
                {
                    "name": "handlers",
                    "credentials": [{"accessKey": keys.handlers_access_key, "secretKey": keys.handlers_secret_key}],
                    "policyNames": ["handlers"],
                },
                {"name": "anonymous", "policyNames": ["anonymous"]},
            ],
            "policies": [
                {"name": "handlers", "content": json.dumps(policy("s3:*"))},
                {"name": "anonymous", "content": json.dumps(policy("s3:GetObject", "s3:ListBucket"))},
            ],
        }
    )


def security(keys: Keys) -> str:
    """Return SeaweedFS' security.toml: its volume server and filer require tokens signed with `token_key`."""
    return "".join(f'[{section}]\nkey = "{keys.token_key}"\n' for section in _TOKENS)


def credentials(access_key: str, secret_key: str) -> str:
    """Return the content of an AWS credentials file with one identity."""
    return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"


def endpoint(url: str) -> dict[str, str]:
    """Return the AWS_* variables for clients of the S3 server at `url`, without credentials.

    Amazon's SDKs read AWS_ENDPOINT_URL_S3, and still call Amazon for services other than S3. object_store, which polars
    and deltalake use, reads AWS_ENDPOINT and AWS_ALLOW_HTTP.
    """
    return {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
