"""Selects the machine's settings of pip, conda and uv that apply when an environment is built.

Settings that choose the index, the releases and the download apply. Settings that change where packages are installed,
or whether dependencies are, do not apply: PIP_TARGET, or `user = true` in a pip.conf, would leave the environment
empty.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from typing import Final

_PIP: Final = frozenset({
    "index-url", "pypi-url", "extra-index-url", "no-index", "find-links", "trusted-host", "keyring-provider",
    "proxy", "cert", "client-cert", "timeout", "default-timeout", "retries", "resume-retries",
    "cache-dir", "no-cache-dir", "use-feature", "use-deprecated",
    "constraint", "build-constraint", "no-binary", "only-binary", "prefer-binary", "pre", "uploaded-prior-to",
    "disable-pip-version-check", "no-input", "no-color", "progress-bar", "exists-action", "root-user-action",
    "break-system-packages", "no-warn-script-location", "no-python-version-warning",
})  # fmt: skip
_CONDA: Final = re.compile(
    r"(?:DEFAULT_|CUSTOM_|MIGRATED_)?(?:MULTI)?CHANNELS?(?:_ALIAS|_PRIORITY)?|ALLOWLIST_CHANNELS|SSL_VERIFY"
    r"|CLIENT_SSL_CERT(?:_KEY)?|PROXY_SERVERS|REMOTE_\w+|OFFLINE|PKGS_DIRS|SUBDIR|SOLVER|OVERRIDE_\w+"
)
_UV: Final = re.compile(
    r"INDEX(?:_\w+)?|EXTRA_INDEX_URL|DEFAULT_INDEX|NO_INDEX|FIND_LINKS|INSECURE_HOST|KEYRING_PROVIDER|NATIVE_TLS"
    r"|SYSTEM_CERTS|HTTP_\w+|CACHE_DIR|NO_CACHE|OFFLINE|CONSTRAINT|BUILD_CONSTRAINT|NO_BINARY\w*|ONLY_BINARY\w*"
    r"|PRERELEASE|EXCLUDE_NEWER|LINK_MODE|NO_PROGRESS"
)
_PIP_PLACES: Final = frozenset(
    f"PIP_{name}" for name in ("USER", "TARGET", "PREFIX", "ROOT", "PYTHON", "DRY_RUN", "REQUIRE_VIRTUALENV")
)
LIST_ALL: Final = {"PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0"}
"""Variables for `pip config list`. Without them, `user = true` in a file makes it list only the user's own file."""
_LISTED: Final = re.compile(r"(global|install)\.([a-z0-9_-]+)=('.*'|\".*\")")


def of_the_machine(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the machine's variables without those that change what a build installs, or where."""
    return {name: value for name, value in environment.items() if _applies(name)}


def _applies(name: str) -> bool:
    tool, _, rest = name.partition("_")
    match tool:
        case "PIP" if rest:
            return rest == "CONFIG_FILE" or _option(rest) in _PIP
        case "CONDA" if rest:
            return _CONDA.fullmatch(rest) is not None
        case "UV" if rest:
            return _UV.fullmatch(rest) is not None
        case _:
            return True


def _option(name: str) -> str:
    return name.lower().replace("_", "-")


def without_places(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a project's variables without those that make pip install elsewhere. Under Cortex they had no effect."""
    return {name: value for name, value in variables.items() if name not in _PIP_PLACES}


def beside_files(variables: Mapping[str, str], listed: str) -> dict[str, str]:
    """Return the variables of a build step. `listed` is the output of `pip config list`: the settings in the files.

    If all settings apply, return `variables` unchanged: pip reads the files itself. A setting that does not apply
    cannot be unset, so pip then reads no file, and gets the other settings as variables. `variables` override the
    settings, and the section [install] overrides [global], as in pip.
    """
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for section, name, value in filter(None, map(_setting, listed.splitlines())):
        found[section][name] = value
    settings = found["global"] | found["install"]
    if settings.keys() <= _PIP:
        return dict(variables)
    applied = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings.items() if name in _PIP}
    return {**applied, **variables, "PIP_CONFIG_FILE": os.devnull}


def _setting(line: str) -> tuple[str, str, str] | None:
    match = _LISTED.fullmatch(line)
    return (match[1], _option(match[2]), str(ast.literal_eval(match[3]))) if match else None
