"""The inputs of a handler's environment, and its cache key. Projects with the same key share one environment.

The key covers the contents of files, not their times, so two copies of a project share one environment. It does not
cover package indexes: a new release of an unpinned package is installed only when something else changes the key.
"""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from insula.errors import InsulaError
from insula.project.text import encoding_of

# Packages that handlers import without requiring them: Cortex' image had them, and the documentation's samples need
# Pillow. Unpinned.
BASE_SET = (
    "boto3", "dill", "Jinja2", "msgpack", "numpy", "Pillow", "pydantic", "python-json-logger", "PyYAML", "requests",
)  # fmt: skip
TENSORFLOW = "tensorflow-cpu" if platform.machine() == "x86_64" else "tensorflow"  # tensorflow-cpu is smaller
DESCRIBE = "import sys, sysconfig; print(sys.version, sysconfig.get_platform(), sys.implementation.cache_tag)"
DESCRIBE_TIMEOUT_S = 60
BUILD_LEFTOVERS = ("__pycache__", "build")  # folders that installing a local package leaves in its source
_FILE_OPTION = re.compile(r"(?:-r|-c|--requirement|--constraint)\b")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # pip's own pattern
_FILE_LINE = re.compile(r"\s*(-r|-c|--requirement|--constraint)[\s=]*(\S+)")
_CONSTRAINTS = ("-c", "--constraint")
_CODING = re.compile(rb"\s*#.*?coding[:=]\s*([-\w.]+)")
_PATH_OPTION = re.compile(r"(?:-e|-f|--editable|--find-(?:links))[\s=]*")
_ARCHIVE = re.compile(r"\.(?:whl|zip|tar\.gz|tgz)$")


class EnvironmentFailed(InsulaError):
    """The handler's environment cannot be built. The text has the last output of a program that failed."""


@dataclass(frozen=True, slots=True)
class EnvironmentInputs:
    """The inputs of an environment. `pip`, `conda` and `shell` are paths in `project`, used if they exist.

    `variables` are all environment variables of every step, such as those of .env and PIP_*.
    `tensorflow` adds TensorFlow, unless the project's files install it. `owner` is an API that shares its environment
    with no other API, because the key cannot cover all inputs. `owner` is empty if projects with the same key share it.
    """

    project: Path
    variables: Mapping[str, str]
    pip: str = "requirements.txt"
    conda: str = "conda-packages.txt"
    shell: str = "dependencies.sh"
    interpreter: Path = Path(sys.executable)
    base_set: tuple[str, ...] = BASE_SET
    tensorflow: bool = False
    owner: str = ""

    def existing(self, name: str) -> Path | None:
        """Return the project's file of this name, or None if it has none."""
        path = self.project / name
        return path if path.is_file() else None


def environment_key(inputs: EnvironmentInputs) -> str:
    """Return the key: the SHA-256, in 64 hex digits, of interpreter, platform, BASE_SET and the project's requirements.

    Reads files and runs the interpreter once. Raises EnvironmentFailed if it does not run.
    """
    parts = _Parts()
    parts.add("interpreter", f"{inputs.interpreter.resolve()} {describe_interpreter(inputs.interpreter)}".encode())
    parts.add("base", " ".join([*inputs.base_set, *([TENSORFLOW] if inputs.tensorflow else [])]).encode())
    for kind, name in (("pip", inputs.pip), ("conda", inputs.conda), ("shell", inputs.shell)):
        path = inputs.existing(name)
        parts.add(kind, path.read_bytes() if path else b"")
    if inputs.owner:
        parts.add("owner", inputs.owner.encode())
    requirements = inputs.existing(inputs.pip)
    lines = list(requirement_lines(requirements, inputs.project)) if requirements else []
    for name in sorted({name for line in lines for name in _VARIABLE.findall(line)}):
        parts.add(f"${name}", inputs.variables.get(name, "").encode())
    if any(map(is_local, lines)):
        parts.add("project", str(inputs.project.resolve()).encode() if any(map(is_editable, lines)) else b"")
        for path in project_files(inputs.project):
            parts.add(path.relative_to(inputs.project).as_posix(), path.read_bytes())
    return parts.digest()


def describe_interpreter(interpreter: Path) -> str:
    """Return the interpreter's version and platform, as it prints them. Raises EnvironmentFailed."""
    try:
        described = subprocess.run(
            [interpreter, "-I", "-S", "-c", DESCRIBE], capture_output=True, check=True, timeout=DESCRIBE_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentFailed(f"the interpreter {interpreter} cannot be run: {error}") from error
    return described.stdout.decode().strip()


def is_local(line: str) -> bool:
    """Return whether a line of a requirements file refers to files. The files' contents are then part of the key."""
    line = line.partition(" #")[0].strip()
    if line.startswith("#"):
        return False
    if _FILE_OPTION.match(line):
        return True
    target = _PATH_OPTION.sub("", line)
    if "file:" in target:
        return True
    if "://" in target or target.startswith("-"):
        return False
    return target.startswith(".") or "/" in target or bool(_ARCHIVE.search(target))


def is_editable(line: str) -> bool:
    """Return whether a line makes the environment refer to the project's folder. The key then has the folder's path."""
    return line.lstrip().startswith(("-e", "--editable"))


def requirement_lines(requirements: Path, project: Path) -> Iterator[str]:
    """Yield the lines of a requirements file and of the project's files that it includes, each file once.

    Continued lines are joined as pip joins them. Comments are kept.
    """
    for _, lines in _requirement_files(requirements, project):
        yield from lines


def requirements_of(inputs: EnvironmentInputs) -> Iterator[str]:
    """Yield the lines that require a package. Options, comments and constraints files are left out."""
    requirements = inputs.existing(inputs.pip)
    for constrains, lines in _requirement_files(requirements, inputs.project) if requirements else ():
        if not constrains:
            yield from (
                stripped for line in lines if (stripped := line.strip()) and not stripped.startswith(("-", "#"))
            )


def _requirement_files(requirements: Path, project: Path) -> Iterator[tuple[bool, list[str]]]:
    """Yield a pair for each file: whether it is a constraints file, and its lines."""
    pending, seen = [(requirements, False)], {requirements.resolve()}
    while pending:
        path, constrains = pending.pop()
        lines = _joined(_decoded(path.read_bytes()))
        yield constrains, lines
        for line in lines:
            named = _FILE_LINE.match(line)
            nested = (path.parent / named[2]).resolve() if named else path
            if named and nested not in seen and nested.is_relative_to(project.resolve()) and nested.is_file():
                seen.add(nested)
                pending.append((nested, constrains or named[1] in _CONSTRAINTS))


def _decoded(data: bytes) -> str:
    """Decode a requirements file as pip does: by its byte order mark, else by its coding comment, else as UTF-8."""
    own = next((match[1].decode() for line in data.split(b"\n")[:2] if (match := _CODING.match(line))), None)
    for encoding in (encoding_of(data), own or "utf-8"):
        with suppress(UnicodeError, LookupError):
            return data.decode(encoding)
    return data.decode(errors="replace")


def _joined(text: str) -> list[str]:
    """Return the lines of a requirements file. A line that ends with a backslash is continued, except a comment."""
    lines: list[str] = []
    goes_on = False
    for line in text.splitlines():
        unfinished = line.endswith("\\") and not line.lstrip().startswith("#")
        piece = line.rstrip("\\") if unfinished else line
        lines[-1:] = [lines[-1] + piece] if goes_on else [*lines[-1:], piece]
        goes_on = unfinished
    return lines


def project_files(project: Path) -> Iterator[Path]:
    """Yield the project's files in a fixed order, without the files that building its packages leaves in it."""
    for path in sorted(project.rglob("*")):
        folders = path.relative_to(project).parts[:-1]
        left_over = any(folder in BUILD_LEFTOVERS or folder.endswith(".egg-info") for folder in folders)
        if path.is_file() and not left_over:
            yield path


class _Parts:
    """A digest of named parts. It includes the lengths, so that two different lists of parts never hash equal bytes."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, name: str, content: bytes) -> None:
        self._sha256.update(f"{len(name)}:{name}{len(content)}:".encode())
        self._sha256.update(content)

    def digest(self) -> str:
        return self._sha256.hexdigest()
