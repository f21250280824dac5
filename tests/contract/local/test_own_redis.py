"""The user's own Redis, with a user name, a password and TLS."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import trustme
from redis import Redis

from tests.contract.local.test_refusals import check_refused, up
from tests.http_api import HttpApi
from tests.processes import descendants, environment
from tests.relay import encrypted
from tests.stack import running_stack
from tests.valkey import running_valkey

PROBE = Path(__file__).parents[2] / "projects" / "probe"
PASSWORD = "only-the-services-may-read-this"


async def test_a_redis_with_tls_and_a_password_is_used_and_the_password_stays_secret(tmp_path: Path) -> None:
    """The password is not in a command line, in the environment of a part, or in the output of `insula up`.

    The URL and the password are in files; user, password and CA have their own variables.
    """
    folder, authority, certificate = tmp_path / "redis", trustme.CA(), tmp_path / "ca.pem"
    folder.mkdir()
    authority.cert_pem.write_to_path(certificate)
    with running_valkey(folder) as valkey:
        with Redis.from_url(valkey.url) as client:
            client.execute_command("ACL", "SETUSER", "insula", "on", f">{PASSWORD}", "~*", "&*", "+@all")
            client.execute_command("ACL", "SETUSER", "default", "off")
        refusal = up(tmp_path, PROBE, "--data", tmp_path / "data", environment={"INSULA_REDIS_URL": valkey.url})
        check_refused(refusal, "INSULA_REDIS_URL")
        async with encrypted(valkey.port, authority) as port:
            (tmp_path / "url").write_text(f"rediss://localhost:{port}/0\n")
            (tmp_path / "password").write_text(PASSWORD)
            async with running_stack(
                [PROBE],
                data=tmp_path / "data",
                INSULA_REDIS_URL_FILE=str(tmp_path / "url"),
                INSULA_REDIS_USER="insula",
                INSULA_REDIS_PASSWORD_FILE=str(tmp_path / "password"),
                INSULA_REDIS_CA_FILE=str(certificate),
            ) as stack:
                assert PASSWORD not in json.dumps(stack.info)
                assert stack.info["redis"] == f"rediss://insula:***@localhost:{port}/0?ssl_ca_certs={certificate}"
                answer = await asyncio.to_thread(HttpApi(f"{stack.public}/probe").run, b"{}", "application/json")
                assert answer["status"] == "completed"
                parts = descendants(stack.pid)
                assert [command for command in parts.values() if PASSWORD in command] == []
                shown = [command for pid, command in parts.items() if PASSWORD.encode() in b"\0".join(environment(pid))]
                assert shown == []
