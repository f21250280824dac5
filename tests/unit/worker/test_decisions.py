"""The worker's decisions, which are pure functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula_worker.attempts.payloads import Patience
from insula_worker.backoff import PAUSE_S_MAX, pause_s
from insula_worker.installation import given_beside, marked
from insula_worker.release import remove_leftovers
from insula_worker.runners.runner import AHEAD_MAX, ahead
from insula_worker.settings import Settings


@pytest.mark.parametrize(
    ("job_s", "slots", "jobs"),
    [(None, 1, 0), (10.0, 1, 0), (0.2, 1, 0), (0.05, 1, 2), (0.01, 1, 10), (0.0, 1, AHEAD_MAX), (1.0, 100, 10)],
)
def test_i6_a_worker_claims_ahead_only_what_it_finishes_within_100_ms(
    job_s: float | None, slots: int, jobs: int
) -> None:
    assert ahead(job_s, quiet_s=0.0, slots=slots) == jobs


def test_i6_nothing_is_claimed_ahead_while_the_running_workload_takes_long() -> None:
    assert ahead(0.001, quiet_s=0.2, slots=1) == 0


def test_the_backoff_doubles_up_to_its_limit() -> None:
    """Failures may continue for days, so the pause must be computable after a million failures."""
    assert [pause_s(failures) for failures in range(-1, 6)] == [0, 0, 1, 2, 4, 8, 16]
    assert pause_s(1_000_000) == PAUSE_S_MAX


def test_a_handler_inherits_neither_our_identity_nor_our_settings() -> None:
    environment = {
        "INSULA_API": "echo",
        "INSULA_LISTEN": "127.0.0.1:1",
        "INSULA_ADMIN_TOKEN": "ours",
        "INSULA_REDIS_URL": "redis://127.0.0.1:6379",
        "AWS_SECRET_ACCESS_KEY": "ours",
        "INSULA_HANDLER_AWS_SECRET_ACCESS_KEY": "theirs",
        "PYTHONPATH": "/ours",
        "PIP_TARGET": "/ours",
        "PIP_INDEX_URL": "https://host/simple",
        "LANG": "C.UTF-8",
    }
    own = {"LANG": "C.UTF-8", "AWS_SECRET_ACCESS_KEY": "theirs", "PIP_INDEX_URL": "https://host/simple"}
    homeless = Settings.read(environment | {"HOME": "/nonexistent"})
    assert homeless.handler_environment == own | {"HOME": "/tmp", "PIP_NO_CACHE_DIR": "1"}
    assert Settings.read(environment | {"HOME": "/usr"}).handler_environment == own | {"HOME": "/usr"}


GIVEN = {
    "LANG": "C.UTF-8",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_ENDPOINT": "http://127.0.0.1:1",
    "AWS_ALLOW_HTTP": "true",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "given",
    "AWS_SECRET_ACCESS_KEY": "given",
}
ELSEWHERE = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
UNNAMED = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.mark.parametrize(
    ("own", "beside"),
    [
        ({"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own"}, UNNAMED),
        ({"AWS_PROFILE": "own", "AWS_REGION": "eu-west-1"}, ELSEWHERE),
        ({"AWS_PROFILE": "own"}, {}),
        ({"AWS_REGION": "eu-west-1"}, {**GIVEN, **ELSEWHERE}),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, {**GIVEN, **ELSEWHERE}),
        ({"OTHER": "1"}, GIVEN),
    ],
    ids=["keys", "profile", "profile with its region", "region", "default region", "nothing"],
)
def test_a_project_with_its_own_account_does_not_get_our_s3(own: dict[str, str], beside: dict[str, str]) -> None:
    assert given_beside(own, GIVEN) == {"LANG": "C.UTF-8", **beside}


def test_the_given_s3_is_marked_unless_the_project_has_its_own() -> None:
    """The mark is an environment variable. By it, the runner finds the boto3 clients that use the stack's S3."""
    assert list(marked(GIVEN, GIVEN).values()) == ["given http://127.0.0.1:1"]
    assert marked({**GIVEN, "AWS_ENDPOINT_URL_S3": "http://own"}, GIVEN) == {}
    assert marked({"AWS_ACCESS_KEY_ID": "own"}, GIVEN) == {}
    assert marked({}, {}) == {}


def test_only_folders_of_releases_are_removed_from_the_scratch(tmp_path: Path) -> None:
    for name in ("0123456789abcdef.0", "0123456789abcdef.12", "0123456789ABCDEF.1", "mine"):
        (tmp_path / name / "project").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0123456789ABCDEF.1", "mine"]


def test_a_payload_is_given_up_after_10_errors_over_10_minutes() -> None:
    """Both limits must be reached. Pauses double from 1 s to 30 s."""
    patience = Patience(clock=lambda: 600.0)
    assert patience.is_over(10, since_s=0.0)
    assert not patience.is_over(9, since_s=0.0)
    assert not patience.is_over(1000, since_s=0.1)
    assert [patience.after(failures) for failures in (1, 2, 3, 4, 5, 6, 1000)] == [1, 2, 4, 8, 16, 30, 30]
