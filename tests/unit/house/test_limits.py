"""docs/limits.md is complete (invariant I10)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from scripts.reference.limit import size, span
from tests.unit.house.tree import OURS, ROOT, python_files

PAGES = ("scripts/reference/limits.py", "scripts/reference/batch_limits.py")
ELSEWHERE = ("src/insula/client/", "src/insula/cli/", "src/insula/v1/")
"""Limits of these folders are in the pages of the client and the commands."""
INTERNAL = {
    "a part of what has a limit of its own": {
        "BATCH_MAX", "BODY_BYTES_MAX", "DIRECTORY_BYTES_MAX", "MARK_BYTES_MAX", "MESSAGE_BYTES_MAX",
        "METADATA_BYTES_MAX", "MESSAGE_CHARACTERS_MAX", "PIECE_BYTES_MAX", "REQUEST_BYTES_MAX", "TOGETHER_MS_MAX",
        "WAITING_MAX", "_RUN_MAX", "BATCH_UPLOADS_MAX", "READS_MAX", "STEPS_MAX", "SUBMISSIONS_MAX", "CLAIMS_MAX",
    },
    "how much of a value, a reason or a progress line a text shows": {
        "COMPLAINT_CHARS_MAX", "PROGRESS_CHARACTERS_MAX", "REASON_CHARS_MAX", "SHOWN_CHARACTERS_MAX",
        "_QUOTED_CHARACTERS_MAX",
    },
    "a bound of a key of cortex.yaml, which docs/cortex-yaml.md shows": {
        "INTEGER_BITS_MAX", "INTEGER_MAX", "CHARACTERS_MAX", "TEXT_CHARACTERS_MAX",
    },
    "the wire between a worker and its runners": {"JOB_BYTES_MAX", "NAMES_MAX"},
    "calls of ours that wait for others of ours": {"BLOCKING_MAX", "CALLS_MAX", "COMPLAINTS_MAX", "PERIOD_MAX"},
    "a limit of Kubernetes, which docs/autoscaling.md shows": {"PERCENT_MAX", "PERIOD_S_MAX", "STABILIZATION_S_MAX"},
    "the resolution of an average, which docs/autoscaling.md shows": {"SAMPLES_MAX"},
    "a longer path is replaced by a short one": {"SOCKET_NAME_BYTES_MAX", "SOCKET_PATH_BYTES_MAX"},
}  # fmt: skip
"""Limits that concern no user and no operator, with the reason."""
UNSHOWN = {name for names in INTERNAL.values() for name in names}


def constants() -> Iterator[str]:
    """Yield the name of each module-level constant that ends with `_MAX`."""
    for path, tree in python_files(*OURS):
        if path.startswith(ELSEWHERE):
            continue
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and target.id.endswith("_MAX"):
                    yield target.id


def test_every_limit_is_on_the_page_or_has_a_reason() -> None:
    trees = [ast.parse((ROOT / page).read_text(encoding="utf-8")) for page in PAGES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in nodes}
    assert set(constants()) - used - UNSHOWN == set(), f"add a row to {PAGES[0]}, or a reason here"


def test_every_listed_limit_exists() -> None:
    assert UNSHOWN - set(constants()) == set()


def test_sizes_and_times_are_written_in_the_largest_unit_that_divides_them() -> None:
    assert [size(each) for each in (4096, 2**21, 2**31, 5_000_000, 480)] == [
        "4 KiB",
        "2 MiB",
        "2 GiB",
        "5 MB",
        "480 bytes",
    ]
    assert [span(each) for each in (0.25, 60, 300, 86_400, 604_800)] == [
        "0.25 s",
        "60 s",
        "5 min",
        "24 h",
        "7 days",
    ]
