"""The packages that an environment is checked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula_worker.environments.installed import missing, named_requirements
from insula_worker.environments.key import EnvironmentInputs


def inputs(project: Path, requirements: str) -> EnvironmentInputs:
    (project / "requirements.txt").write_text(requirements)
    return EnvironmentInputs(project, {}, base_set=("PyYAML",))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("numpy", ["numpy"]),
        ("  ruamel.yaml[jinja2] >= 0.17  # why", ["ruamel.yaml"]),
        ("six==1.16 \\\n  --hash=sha256:00", ["six"]),
        ("tool @ https://host/tool.zip", ["tool"]),
        ("numpy; python_version < '3'", []),
        ("six==${SIX}", []),
        ("# six", []),
        ("-e git+https://host/tool#egg=tool", []),
        ("-i https://host/simple", []),
        ("./lib", []),
        ("lib/x.whl", []),
        ("https://host/x.whl", []),
        ("-r more.txt", ["more-of-it"]),
        ("-c more.txt", []),
    ],
)
def test_the_package_that_a_line_requires_unconditionally(tmp_path: Path, line: str, names: list[str]) -> None:
    (tmp_path / "more.txt").write_text("more-of-it\n")
    assert list(named_requirements(inputs(tmp_path, line))) == names


def test_missing_packages_are_found_by_name(tmp_path: Path) -> None:
    """Different spellings of one name are equal. A longer name is another package."""
    asked = inputs(tmp_path, "ruamel.yaml\nPillow\nnumpy\n")
    environment = tmp_path / "environment"
    assert missing(asked, environment) == ["ruamel.yaml", "Pillow", "numpy", "PyYAML"]
    for name in ("ruamel_yaml-0.17.dist-info", "pillow-12.dist-info", "numpy_quaternion-1.dist-info"):
        (environment / "lib" / "python3.11" / "site-packages" / name).mkdir(parents=True)
    assert missing(asked, environment) == ["numpy", "PyYAML"]


def test_with_a_script_packages_of_the_base_set_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "dependencies.sh").touch()
    assert missing(inputs(tmp_path, "numpy"), tmp_path) == ["numpy"]
