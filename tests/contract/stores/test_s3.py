"""An S3 that demands TLS, keys and a region, with bucket names in the path or in the host name, and keys of roles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

import pytest
import trustme

from insula_local.machine.binaries import find
from tests.contract.stores.roles import ROLE, TOKEN, running_roles
from tests.contract.stores.seaweedfs import KEYS, SeaweedFs
from tests.contract.stores.test_access import completed
from tests.suite import END_S, Suite, running_suite, write_project
from tests.valkey import Valkey

API = "a"


Variables: TypeAlias = dict[str, str]


def run_a_workload(suite: Suite, project: Path, submit: Variables, results: Variables, worker: Variables) -> None:
    """Run a workload whose payload, result and bundle go through S3. Each process has its own variables."""
    suite.start("submit", submit)
    suite.start("results", results)
    suite.command("deploy", str(write_project(project, API)))
    suite.start(API, worker)
    assert completed(suite.run(API))


@pytest.mark.slow
def test_keys_of_roles_are_used(valkey: Valkey, s3: SeaweedFs, tmp_path: Path) -> None:
    """Submit has the role of an instance (IMDSv2), results that of a container, and the worker a web identity."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with (
        running_roles() as roles,
        running_suite({"INSULA_REDIS_URL": valkey.url, **s3.variables}) as suite,
    ):
        instance = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": roles.url}
        container = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{roles.url}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
        identity = {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": roles.url,
        }
        run_a_workload(suite, tmp_path / "project", instance, container, identity)
        assert set(roles.granted) == {"instance", "container", "web identity"}


@pytest.mark.slow
def test_the_bucket_may_be_in_the_host_name_and_the_keys_in_a_file(
    valkey: Valkey, s3: SeaweedFs, tmp_path: Path
) -> None:
    """Only the services resolve the name of S3, from a hosts file that they alone see."""
    bwrap = find().bwrap
    assert bwrap is not None
    keys = tmp_path / "keys"
    keys.write_text(
        f"[default]\naws_access_key_id = {KEYS['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {KEYS['AWS_SECRET_ACCESS_KEY']}\n"
    )
    variables = s3.variables | {
        "INSULA_REDIS_URL": valkey.url,
        "INSULA_S3_ADDRESSING": "virtual",
        "AWS_ENDPOINT_URL": s3.named,
        "AWS_SHARED_CREDENTIALS_FILE": str(keys),
    }
    inside = (str(bwrap), "--dev-bind", "/", "/", "--ro-bind", str(s3.hosts), "/etc/hosts", "--die-with-parent")
    with running_suite(variables, inside=inside) as suite:
        run_a_workload(suite, tmp_path / "project", {}, {}, {})


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "submit: S3 refused the request: .*403.*; check the keys, and what"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "submit: there are no keys for S3: "),
        ({"INSULA_S3_BUCKET": "another"}, "submit: S3 has no bucket another: "),
        ({"AWS_CA_BUNDLE": "another"}, "submit: S3 cannot be reached over TLS: .*; set AWS_CA_BUNDLE if a CA of"),
    ],
    ids=["keys", "no keys", "bucket", "authority"],
)
def test_submit_ends_with_a_line_that_names_what_is_wrong(
    valkey: Valkey, s3: SeaweedFs, tmp_path: Path, wrong: dict[str, str], line: str
) -> None:
    if "AWS_CA_BUNDLE" in wrong:
        trustme.CA().cert_pem.write_to_path(tmp_path / "another")
        wrong = {"AWS_CA_BUNDLE": str(tmp_path / "another")}
    stores = {"INSULA_REDIS_URL": valkey.url, **s3.variables, **KEYS}
    with running_suite(stores) as suite:
        suite.start("submit", wrong, ready=False)
        assert suite.processes["submit"].wait(timeout=END_S) == 1
        last = suite.log("submit").splitlines()[-1]
    assert re.match(line, last), last
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in last
