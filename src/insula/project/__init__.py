"""A user's project: its configuration, its files and its handler. All checks run before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from insula.errors import ProjectInvalid
from insula.project import handler_source
from insula.project.bundle import collect
from insula.project.configuration.spec import ApiSpec
from insula.project.env_file import read_env
from insula.project.files import ProjectFile, check_root, project_files

__all__ = ["CONFIG_NAME", "ApiSpec", "Project", "read_project"]

CONFIG_NAME: Final = "cortex.yaml"


@dataclass(frozen=True, slots=True)
class Project:
    """One API and its project directory. All APIs of a configuration file have the same directory and bundle."""

    spec: ApiSpec
    root: Path
    config_path: Path

    def files(self) -> tuple[ProjectFile, ...]:
        """Return the current files of the project. Raises ProjectInvalid."""
        return project_files(self.root, self.config_path.name)

    def bundle(self) -> bytes:
        """Return the project's files as one archive. Raises ProjectInvalid."""
        return collect(self.root, self.config_path.name)


def read_project(directory_or_config: Path) -> list[Project]:
    """Check a project and return its APIs. The argument is the project directory, or the configuration file in it.

    The checks cover the configuration, the files of the project, the paths in the configuration, `.env`, and the source
    of each handler. Raises ProjectInvalid with one paragraph that names file, API and key.
    """
    from insula.project.configuration import cortex_yaml  # the services read no YAML

    config_path = directory_or_config / CONFIG_NAME if directory_or_config.is_dir() else directory_or_config
    if not config_path.is_file():
        raise ProjectInvalid(
            f"{config_path}: there is no such file; a project is a directory with a {CONFIG_NAME}, "
            "and `insula init` writes one"
        )
    root = config_path.parent.resolve()
    config_path = root / config_path.name
    check_root(root)
    specs = cortex_yaml.load(config_path)
    files = {file.name: file for file in project_files(root, config_path.name)}
    read_env(root)
    for spec in specs:
        _check_paths(spec, root, files, f"{config_path.name}: {spec.name} ({spec.kind})")
        path = spec.handler.path
        handler_source.check(files[path].source.read_bytes(), path, spec.handler.type)
    return [Project(spec, root, config_path) for spec in specs]


def _check_paths(spec: ApiSpec, root: Path, files: dict[str, ProjectFile], where: str) -> None:
    """Raise ProjectInvalid if a path in `spec` is missing. A dependency file with its default name may be missing."""
    handler = spec.handler
    if handler.path not in files:
        raise ProjectInvalid(f"{where}: handler: path: {handler.path}: {_absence(root, handler.path)}")
    named = handler.dependencies
    for key, path, usual in (
        ("pip", named.pip, "requirements.txt"),
        ("conda", named.conda, "conda-packages.txt"),
        ("shell", named.shell, "dependencies.sh"),
    ):
        if path not in files and (path != usual or (root / path).exists()):
            raise ProjectInvalid(f"{where}: handler: dependencies: {key}: {path}: {_absence(root, path)}")
    if handler.python_path not in (None, ".") and not any(name.startswith(f"{handler.python_path}/") for name in files):
        raise ProjectInvalid(
            f"{where}: handler: python_path: {handler.python_path}: folder does not exist, or is empty"
        )


def _absence(root: Path, path: str) -> str:
    if (root / path).is_dir():
        return "is a folder, must be a file"
    if (root / path).exists():
        return "file is left out of the project; check its name and .cortexignore"
    return "file does not exist"
