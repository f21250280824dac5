from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from insula.phase import ApiState
from insula_local.api import A_MOMENT_S, LocalApi
from insula_local.rollout.rollout import Rollout


@dataclass
class Told:
    """Stands in for the output of `insula up`. It records each report of a Rollout, in order."""

    words: list[str] = field(default_factory=list[str])

    def api_deployed(self, api: LocalApi) -> None:
        self.words.append(f"{api.name} {api.version} at {api.url}")

    def api_slow(self, api: LocalApi) -> None:
        self.words.append(f"{api.name} {api.phase}")

    def api_settled(self, api: LocalApi) -> None:
        self.words.append(f"{api.name} {api.state} {api.reason}".rstrip())


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def rollout(told: Told, tmp_path: Path) -> Rollout:
    """A Rollout, which reports the states of deployed APIs. Its admin address has no server."""
    return Rollout(f"unix://{tmp_path}/admin.sock", "http://public", told)


def test_a_deployed_version_is_reported_once(rollout: Rollout, told: Told) -> None:
    """A Rollout learns of a version several times: from the reply to the deployment, submit's log and lists of APIs."""
    for version in ("v1", "v1", "v2", "v1"):
        rollout.deployed("api", version, "/api")
    assert told.words == [f"api {version} at http://public/api" for version in ("v1", "v2", "v1")]


def test_a_state_is_reported_once_for_each_version(rollout: Rollout, told: Told) -> None:
    rollout.deployed("api", "v1", "/api")
    api = rollout.apis["api"]
    for state, reason in ((ApiState.FAILING, "why"), (ApiState.FAILING, "why"), (ApiState.READY, "")):
        rollout.settle(api, state, reason)
    rollout.deployed("api", "v2", "/api")
    assert api.state == ApiState.PENDING
    rollout.settle(api, ApiState.READY, "")
    assert told.words[1:] == ["api failing why", "api ready", "api v2 at http://public/api", "api ready"]


def test_a_phase_is_slow_after_a_moment() -> None:
    """A phase is reported as slow after A_MOMENT_S. Progress within the phase does not restart this time."""
    api = LocalApi("api", "http://public/api")
    assert not api.lingers("", "", 0)
    assert not api.lingers("installing", "", 10)
    assert not api.lingers("installing", "Collecting numpy", 10 + A_MOMENT_S / 2)
    assert api.lingers("installing", "Collecting numpy", 10 + A_MOMENT_S)
    assert api.progress == "Collecting numpy"
    assert api.lingers("installing", "Collecting scipy", 20)
    assert not api.lingers("starting", "", 20)
    assert api.lingers("starting", "", 20 + A_MOMENT_S)
    assert (api.phase, api.progress) == ("starting", "")
