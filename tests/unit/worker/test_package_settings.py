"""Which of the user's own settings of pip, conda and uv reach a build."""

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
def test_what_leads_elsewhere_does_not_count(name: str) -> None:
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
def test_where_packages_come_from_counts(name: str) -> None:
    assert of_the_machine({name: "1"}) == {name: "1"}


def test_a_project_may_say_everything_but_the_place() -> None:
    """With Cortex, PIP_USER and PIP_PREFIX changed nothing for the handler: it alone lived in the container."""
    own = {"PIP_NO_DEPS": "1", "PIP_INDEX_URL": "https://host/simple"}
    assert without_places({**own, "PIP_USER": "1", "PIP_TARGET": "/lib"}) == own


def test_files_whose_settings_all_count_are_pips_own_business() -> None:
    listed = ":env:.user='1'\nglobal.index-url='https://host/simple'\ninstall.find_links='/wheels'\n"
    assert beside_files({"A": "b"}, listed) == {"A": "b"}


def test_one_setting_that_leads_elsewhere_replaces_the_files_by_variables() -> None:
    """The variables given win over the files, and [install] wins over [global]."""
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
