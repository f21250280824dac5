"""SeaweedFS with TLS, and with bucket names in the host name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import trustme
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from insula_local.machine.binaries import find
from tests.addresses import free_port
from tests.waiting import until_blocking

HOST = "s3.test"
BUCKET = "insula"
REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}
PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
    "s3.port.grpc", "s3.port.https", "admin.port", "admin.port.grpc",
)  # fmt: skip


@dataclass(frozen=True)
class SeaweedFs:
    """A server. `endpoint` has TLS and an address, `named` has TLS and the name HOST, which only `hosts` resolves."""

    port: int
    ca_file: Path
    hosts: Path

    @property
    def endpoint(self) -> str:
        """The URL with an address. It is for bucket names in the path."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def named(self) -> str:
        """The URL with a name."""
        return f"https://{HOST}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """The AWS_* variables without keys."""
        where = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": REGION}
        return where | {"AWS_CA_BUNDLE": str(self.ca_file), "AWS_EC2_METADATA_DISABLED": "true"}

    def create_bucket(self) -> None:
        """Create the bucket. Waits for the server."""
        s3 = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            verify=str(self.ca_file),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

        def created() -> bool:
            try:
                s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            except (BotoCoreError, ClientError):
                return False
            return True

        until_blocking(created)


@contextmanager
def running_seaweedfs(folder: Path, authority: trustme.CA) -> Generator[SeaweedFs]:
    """Run a server with the bucket BUCKET until the block ends."""
    certificate = authority.issue_cert(HOST, f"*.{HOST}", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "hosts").write_text(f"127.0.0.1 localhost {HOST} {BUCKET}.{HOST}\n")
    credentials = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    identity = {"name": "insula", "credentials": [credentials], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in PORTS}
    flags = {
        **ports,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": ".",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": "identities.json",
        "s3.cert.file": "certificate.pem",
        "s3.key.file": "key.pem",
        "s3.domainName": HOST,
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
    }
    command = [str(find().weed), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in flags.items())]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            server = SeaweedFs(ports["s3.port.https"], folder / "ca.pem", folder / "hosts")
            server.create_bucket()
            yield server
        finally:
            process.kill()
