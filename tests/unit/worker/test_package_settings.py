"""The user's settings of pip, conda and uv that apply to a build."""

from __future__ import annotations

import os

import pytest

from insula_worker.environments.package_settings import beside_files, of_the_machine, without_places


@pytest.mark.parametrize(
    "name",
    [
        "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_REQUIRE_HASHES", "PIP_NO_DEPS",
        "PIP_DRY_RUN", "PIP_IGNORE_INSTALLED", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_SRC", "PIP_PLATFORM",
        "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_ENVS_PATH", "CONDA_SHLVL",
        "UV_TARGET", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_SYSTEM_PYTHON", "UV_REQUIRE_HASHES",
    ],
)  # fmt: skip
def test_a_setting_that_changes_the_place_of_packages_does_not_apply(name: str) -> None:
    assert of_the_machine({name: "1", "HOME": "/home"}) == {"HOME": "/home"}


@pytest.mark.parametrize(
    "name",
    [
        "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CERT", "PIP_CLIENT_CERT",
        "PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_TRUSTED_HOST", "PIP_CONSTRAINT",
        "PIP_CONFIG_FILE", "PIP_CACHE_DIR", "CONDA_CHANNELS", "CONDA_SSL_VERIFY", "UV_INDEX_URL",
        "UV_INDEX_OURS_PASSWORD", "PIPELINE", "CONDATA", "HTTPS_PROXY", "SSL_CERT_FILE",
    ],
)  # fmt: skip
def test_a_setting_that_chooses_the_source_of_packages_applies(name: str) -> None:
    assert of_the_machine({name: "1"}) == {name: "1"}


def test_a_project_may_set_every_option_of_pip_except_the_place() -> None:
    """Variables that change the folder of packages, such as PIP_USER, are dropped. In Cortex they had no effect."""
    own = {"PIP_NO_DEPS": "1", "PIP_INDEX_URL": "https://host/simple"}
    assert without_places({**own, "PIP_USER": "1", "PIP_TARGET": "/lib"}) == own


def test_pip_reads_its_files_itself_if_all_their_settings_apply() -> None:
    listed = ":env:.user='1'\nglobal.index-url='https://host/simple'\ninstall.find_links='/wheels'\n"
    assert beside_files({"A": "b"}, listed) == {"A": "b"}


def test_if_one_setting_does_not_apply_variables_replace_the_files() -> None:
    """If a setting of pip.conf must not apply, pip does not read the file. It gets the other settings as variables.

    The project's variables override them. The section [install] overrides [global].
    """
    listed = (
        "global.index-url='https://host/simple'\nglobal.find-links='\\n/one\\n/two'\nglobal.timeout='1'\n"
        "install.timeout='2'\nglobal.cert=\"/it's\"\ninstall.user='true'\nlist.format='json'\n"
    )
    assert beside_files({"PIP_INDEX_URL": "https://mine", "PIP_CONFIG_FILE": "/mine"}, listed) == {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "https://mine",
        "PIP_FIND_LINKS": "\n/one\n/two",
        "PIP_TIMEOUT": "2",
        "PIP_CERT": "/it's",
    }
