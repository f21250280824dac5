"""Whether a dependencies.sh may run on the user's machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.project.consent import Confirmations, Decision, decide, scripts
from tests.unit.project.entries import MINIMAL, project


@pytest.mark.parametrize(
    ("confirmed", "yes", "terminal", "decision"),
    [
        (True, False, False, Decision.RUN),
        (False, True, False, Decision.RUN),
        (False, False, True, Decision.ASK),
        (False, False, False, Decision.RUN),
    ],
)
def test_the_user_is_asked_only_on_a_terminal_and_once(
    confirmed: bool, yes: bool, terminal: bool, decision: Decision
) -> None:
    assert decide(confirmed=confirmed, yes=yes, terminal=terminal) is decision


def test_each_text_of_an_apis_script_is_found_once(tmp_path: Path) -> None:
    other = MINIMAL.replace("my-api", "other") + "    dependencies: {shell: own.sh}\n"
    files = {"dependencies.sh": "echo 1\n", "own.sh": "echo 2\n", "more.sh": "echo 3\n"}
    one = project(tmp_path / "one", files, MINIMAL + other)
    two = project(tmp_path / "two", {"dependencies.sh": "echo 1\n"})
    three = project(tmp_path / "three", {})
    found = scripts(each / "cortex.yaml" for each in (one, two, three))
    assert [script.path for script in found] == [one / "dependencies.sh", one / "own.sh"]


def test_a_confirmation_is_for_one_text(tmp_path: Path) -> None:
    root = project(tmp_path / "project", {"dependencies.sh": "echo 1\n"})
    confirmations = Confirmations(tmp_path / "cache")
    (script,) = scripts([root / "cortex.yaml"])
    assert not confirmations.hold(script)
    confirmations.remember(script)
    confirmations.remember(script)
    assert Confirmations(tmp_path / "cache").hold(script)
    (root / "dependencies.sh").write_text("echo 2\n")
    (changed,) = scripts([root / "cortex.yaml"])
    assert not confirmations.hold(changed)
