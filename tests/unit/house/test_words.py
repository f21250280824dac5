"""The fixed words of Insula. Users' programs and dashboards depend on them."""

from __future__ import annotations

import re

import pytest
from grpc import StatusCode

from insula import errors
from insula.phase import ApiState, Phase
from insula.reason import Reason
from insula.rpc.statuses import reason, status_code
from insula.status import Status
from insula_runner.job_loop import HANDLER_ERROR, REASON_BY_ERROR
from insula_worker.runners.messages import RUNNER_REASONS
from tests.unit.house.test_error_table import leaves
from tests.unit.house.tree import OURS, ROOT, python_files, strings

ERROR_REASONS = {
    "API_NOT_FOUND",
    "CONTENT_TYPE_MISSING",
    "ENCODING_INVALID",
    "ENCODING_UNSUPPORTED",
    "ENDPOINT_TAKEN",
    "IDEMPOTENCY_CONFLICT",
    "INVALID_ARGUMENT",
    "LEASE_LOST",
    "NOT_FOUND",
    "OBJECT_UNREADABLE",
    "PAYLOAD_TOO_LARGE",
    "PROJECT_INVALID",
    "QUEUE_FULL",
    "RESOURCE_EXHAUSTED",
    "STORAGE_FULL",
    "STORE_FULL",
    "STORE_UNAVAILABLE",
    "UNAUTHENTICATED",
    "WORKLOAD_NOT_FOUND",
}
"""Every `reason` of an error's google.rpc.ErrorInfo."""
FAILURE_REASONS = {
    "HANDLER_ERROR",
    "MEMORY_LIMIT",
    "PAYLOAD_INVALID",
    "PAYLOAD_MISSING",
    "PAYLOAD_UNREADABLE",
    "RESULT_INVALID",
    "RESULT_TOO_LARGE",
    "WORKER_LOST",
}
STATUSES = {"in_queue", "in_progress", "completed", "failed", "cancelled"}
PHASES = {"installing", "starting", "ready", "failing", "draining"}
STATES = {"pending", "ready", "failing"}
LOG_MESSAGES = {
    "loading the handler from ",
    "polling for workloads...",
    "processing workload...",
    "workload processing complete",
    "failed to process workload",
}
"""Messages that users of Cortex search for in their logs."""
HOMES = {"src/insula/reason.py", "src/insula/phase.py", "src/insula/status.py"}
HANDLERS_SIDE = ("services/worker/insula_runner/", "services/worker/cortex_internal/")
"""Code in the handler process. It cannot import the enum of reasons, so it contains them as strings."""


def test_no_word_changed() -> None:
    assert {reason(kind) for kind in _raisable()} == ERROR_REASONS
    assert (set(Reason), set(Status), set(Phase), set(ApiState)) == (FAILURE_REASONS, STATUSES, PHASES, STATES)


def _raisable() -> set[type[errors.InsulaError]]:
    """Return every error class that is raised: those without a subclass, and some that have subclasses."""
    inner = {errors.InvalidArgument, errors.NotFound, errors.ResourceExhausted, errors.StoreUnavailable}
    return {*leaves(errors.InsulaError), *inner}


def test_an_error_without_a_row_has_no_code() -> None:
    """An error without a gRPC status in the table is a bug, and the caller gets INTERNAL."""
    assert status_code(errors.InsulaError) is None
    assert all(isinstance(status_code(kind), StatusCode) for kind in _raisable())


@pytest.mark.parametrize("message", sorted(LOG_MESSAGES))
def test_the_log_message_is_unchanged(message: str) -> None:
    """The message is a string in the code of the services."""
    found = [node for _, tree in python_files("services/") for node in strings(tree) if str(node.value) == message]
    assert found


def test_the_handlers_side_uses_the_same_reasons() -> None:
    assert {HANDLER_ERROR, *REASON_BY_ERROR.values()} == RUNNER_REASONS


def test_each_word_is_defined_in_one_module() -> None:
    """Lua scripts spell the words too, because they cannot import them."""
    words = re.compile(rf"^({'|'.join(FAILURE_REASONS | {'draining', 'failing', 'pending'})})$")
    spelled = [
        f"{path}:{node.lineno} {node.value!r}"
        for path, tree in python_files(*OURS)
        if path not in HOMES and not path.startswith(HANDLERS_SIDE)
        for node in strings(tree)
        if words.match(str(node.value))
    ]
    assert spelled == []


@pytest.mark.parametrize(
    ("proto", "field", "words"),
    [
        ("workload", "string status = 3", STATUSES),
        ("workload", "string reason = 1", FAILURE_REASONS),
        ("worker_service", "string phase = 4", PHASES),
        ("api_service", "string state = 5", STATES),
    ],
)
def test_the_contract_names_each_word(proto: str, field: str, words: set[str]) -> None:
    """A comment in the .proto file lists all values of the field."""
    text = (ROOT / f"protos/insula/v1/{proto}.proto").read_text(encoding="utf-8")
    assert {word for word in words if not re.search(rf"\b{word}\b", text.partition(f"  {field};")[0])} == set()
