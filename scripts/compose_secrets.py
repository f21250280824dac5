"""Writes the secrets of compose.yaml: `python -m scripts.compose_secrets FOLDER API...`.

Only the owner may enter the folder. The keys are made once: a later run, for example with one more API, keeps them.
Services get them as variables and not as files, because a handler may read files that its worker can read.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, cast

from insula.access import service_acl, worker_acl
from insula_local.seaweedfs import storage

KEYS: Final = "keys.json"
FILER_STORE: Final = storage.FILER_STORE.replace("./filer.db", "/data/filer.db")


def write(folder: Path, apis: Sequence[str]) -> None:
    """Write the files for the services and for these APIs to `folder`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = cast("dict[str, str]", json.loads((folder / KEYS).read_text())) if (folder / KEYS).exists() else {}
    s3 = storage.Keys.parse(json.dumps({name: known[name] for name in storage.Keys.__annotations__ if name in known}))
    users = [f"insula-{name}" for name in ("submit", "results", *(f"worker-{api}" for api in apis))]
    keys = {**known, **asdict(s3)}
    for name in ("admin_token", *users):
        keys.setdefault(name, secrets.token_urlsafe(30))
    _write(folder / KEYS, json.dumps(keys, indent=1), 0o600)

    token = {"INSULA_ADMIN_TOKEN": keys["admin_token"]}
    ours = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    handlers = {
        "INSULA_HANDLER_AWS_ACCESS_KEY_ID": s3.handlers_access_key,
        "INSULA_HANDLER_AWS_SECRET_ACCESS_KEY": s3.handlers_secret_key,
    }
    _variables(folder / "register.env", token)
    for user in users:
        name = user.removeprefix("insula-")
        redis = {"INSULA_REDIS_USER": user, "INSULA_REDIS_PASSWORD": keys[user]}
        _variables(folder / f"{name}.env", redis | ours | token | (handlers if name.startswith("worker-") else {}))

    # Read by the users of the stores' containers.
    known_users = [name for name in keys if name.startswith("insula-")]
    _write(folder / "users.acl", "user default off\n" + "".join(_acl(name, keys[name]) for name in known_users), 0o644)
    (folder / "s3").mkdir(exist_ok=True)
    _write(folder / "s3" / "identities.json", storage.identities(s3), 0o644)
    _write(folder / "s3" / "security.toml", storage.security(s3), 0o644)
    _write(folder / "s3" / "filer.toml", FILER_STORE, 0o644)


def _acl(user: str, password: str) -> str:
    """Return the line of a user in Valkey's ACL file."""
    name = user.removeprefix("insula-")
    rules = worker_acl(name.removeprefix("worker-")) if name.startswith("worker-") else service_acl(name)
    return f"user {user} {rules} #{hashlib.sha256(password.encode()).hexdigest()}\n"


def _variables(path: Path, variables: Mapping[str, str]) -> None:
    _write(path, "".join(f"{name}={value}\n" for name, value in variables.items()), 0o600)


def _write(path: Path, text: str, mode: int) -> None:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:])
