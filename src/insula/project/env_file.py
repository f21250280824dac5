"""Reads a project's `.env`: environment variables of the handler. They override those of `handler.env`.

`$NAME` in a value is not replaced, so a handler's environment does not depend on the user who deployed it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from insula.errors import ProjectInvalid
from insula.project.configuration.kinds import environment_problem
from insula.project.text import decode

ENV_FILE: Final = ".env"
ENV_FILE_BYTES_MAX: Final = 2**20


def read_env(project: Path) -> dict[str, str]:
    """Return the variables of the project's `.env`; none if there is no such file. Raises ProjectInvalid."""
    try:
        with (project / ENV_FILE).open("rb") as file:
            data = file.read(ENV_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ProjectInvalid(f"{ENV_FILE}: cannot be read: {error.strerror}") from None
    return parse_env(data)


def parse_env(data: bytes) -> dict[str, str]:
    """Return the variables in the text of a `.env` file. The last value of a name is used. Raises ProjectInvalid."""
    if len(data) > ENV_FILE_BYTES_MAX:
        raise ProjectInvalid(f"{ENV_FILE}: must not be larger than {ENV_FILE_BYTES_MAX} bytes")
    try:
        text = decode(data).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProjectInvalid(f"{ENV_FILE}: line {line}: must be UTF-8 text") from None
    variables: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        # For the parser, the blank lines before a variable are part of it.
        blank = binding.original.string[: -len(binding.original.string.lstrip()) or None]
        line = binding.original.line + blank.count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            raise ProjectInvalid(f"{ENV_FILE}: line {line}: must have the form VARIABLE=value")
        if binding.key is None or binding.value is None:
            continue
        problem = environment_problem(binding.key, binding.value)
        if problem:
            raise ProjectInvalid(f"{ENV_FILE}: line {line}: {binding.key}: {problem}")
        variables[binding.key] = binding.value
    return variables
