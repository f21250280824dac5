"""docs/limits.md, from the constants of the limits and the configuration of the edge."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from insula.bundles.__main__ import KEPT as BUNDLE_KEPT
from insula.errors import StoreFull
from insula.ledger import ledger
from insula.project import env_file, extraction, files
from insula.project.configuration import cortex_yaml as configuration
from insula.project.configuration import rules, spec, tree
from insula.project.configuration.units import DURATION_MAX
from insula.registry import REPORT_S
from insula.rpc.server import PAYLOAD_BYTES_MAX as MESSAGE_PAYLOAD_BYTES_MAX
from insula.rpc.statuses import UNAVAILABLE_RETRY_S
from insula.settings import LEASE_S, MAX_DELIVERIES, PAYLOAD_BYTES_MAX, RETENTION_S
from insula.stores.disk import ROOM_BYTES_MIN, ROOM_SHARE_MIN
from insula.telemetry import log_lines
from insula_envoy import EdgeAddresses, bundled_folder, render
from insula_local import parts, preflight, stack
from insula_local.machine.disk import START_BYTES
from insula_local.supervision import output as part_output
from insula_results import fetching
from insula_runner import user_code
from insula_runner.frames import RESULT_BYTES_MAX
from insula_runner.handler import metrics as pushed
from insula_submit import admission, envelope, submit_servicer
from insula_worker import backoff
from insula_worker import metrics as kept
from insula_worker.attempts import claiming, json_object, outcomes, payloads
from insula_worker.environments.environment import BUILD_TIMEOUT_S
from insula_worker.logs import line, ring, stdout_writer
from insula_worker.runners import pool, runner
from insula_worker.settings import GRACE_S, START_TIMEOUT_S
from scripts.reference.batch_limits import BATCHES
from scripts.reference.limit import Limit, size, span

INTRODUCTION: Final = """\
# Limits

<!-- Written by `make reference` from the constants in the code and from `envoy.yaml`; do not edit. -->

Every queue, buffer and body has a limit. `handle_async` has no time limit. Three things have no limit unless you set
one: the memory of a handler, the memory of Redis, and the requests a second from one address. 1 KiB is 1,024 bytes,
1 MiB is 1,024 KiB, 5 MB is 5,000,000 bytes.

In the last column, "fixed" means that 0.1.0 cannot change the limit. `INSULA_…` are environment variables of
`insula up`, see [settings](settings.md). Words in capitals are reasons, see [errors](errors.md). Keys of cortex.yaml
have limits of their own, see [cortex.yaml](cortex-yaml.md). The [glossary](glossary.md) explains the words of this
page.
"""
QUEUE_DEFAULT: Final = spec.Autoscaling().max_replica_concurrency * spec.Autoscaling().max_replicas
CLOSED: Final = "a further one is closed at once"
ENVOY_HEADERS: Final = "60 KiB, 100 headers"
"""Envoy's defaults, which envoy.yaml does not change."""


def edge() -> Mapping[str, Any]:
    """Return the parsed envoy.yaml."""
    addresses = EdgeAddresses(
        public_address="0.0.0.0",  # noqa: S104 - nothing listens there
        public_port=8080,
        internal_address="127.0.0.1",
        submit=["localhost:1"],
        results=["localhost:2"],
        admin="localhost:3",
    )
    parsed: Mapping[str, Any] = yaml.safe_load(render(addresses))
    return parsed


def _duration(text: str) -> str:
    return span(float(text.removesuffix("s")))


def _requests() -> Sequence[Limit]:
    public = edge()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    guard = (bundled_folder() / "guard.lua").read_text(encoding="utf-8")
    request_id = re.search(r"REQUEST_ID_CHARS_MAX = (\d+)", guard)
    assert request_id, "guard.lua bounds the x-request-id"
    return (
        Limit(
            "payload, after decompression",
            size(int(PAYLOAD_BYTES_MAX.default)),
            "413 `PAYLOAD_TOO_LARGE`; nothing is stored",
            f"`{PAYLOAD_BYTES_MAX.name}`",
        ),
        Limit(
            "message of `SubmitWorkload` (gRPC), with its payload",
            size(MESSAGE_PAYLOAD_BYTES_MAX),
            "`PAYLOAD_TOO_LARGE`; use `UploadWorkload`, which takes pieces",
        ),
        Limit(
            "rest of the body of a refused request, which is read and dropped",
            f"{size(submit_servicer.REFUSED_BYTES_READ)}, and {span(submit_servicer.REFUSED_S)}",
            "the connection is reset",
        ),
        Limit("`Content-Type`, `Idempotency-Key`", f"{envelope.HEADER_BYTES_MAX} bytes each", "400 `INVALID_ARGUMENT`"),
        Limit(
            "`x-request-id` of a request, which its answer repeats",
            f"{request_id[1]} printable characters",
            "Envoy makes another one",
        ),
        Limit("all headers of a request", ENVOY_HEADERS, "431"),
        Limit("sending the headers", _duration(public["request_headers_timeout"]), "408"),
        Limit(
            "a transfer that stands still",
            _duration(public["stream_idle_timeout"]),
            "408 or 504; the request may be repeated",
        ),
        Limit("an idle connection", _duration(public["common_http_protocol_options"]["idle_timeout"]), "it is closed"),
        Limit(
            f"upload of a payload over {size(admission.INLINE_BYTES_MAX)}",
            span(ledger.UPLOAD_S),
            "503 `STORE_UNAVAILABLE`; nothing is stored",
        ),
        Limit(
            "`wait` of `GetWorkload` (gRPC); a GET over HTTP does not wait",
            span(fetching.WAIT_S_MAX),
            "400 `INVALID_ARGUMENT`; call again to wait longer",
        ),
        *BATCHES,
    )


def _connections() -> Sequence[Limit]:
    parsed = edge()
    resources = parsed["static_resources"]
    public = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    connections = parsed["layered_runtime"]["layers"][0]["static_layer"]["envoy"]["resource_limits"]["listener"]
    [monitor] = parsed["overload_manager"]["resource_monitors"]
    [upstream] = resources["clusters"][0]["circuit_breakers"]["thresholds"]
    return (
        Limit(
            "calls at once on one HTTP/2 connection",
            f"{public['http2_protocol_options']['max_concurrent_streams']}",
            "the client waits or opens another connection",
        ),
        Limit("connections of the public listener", f"{connections['public']['connection_limit']:,}", CLOSED),
        Limit("connections of handlers to port 8888", f"{connections['in_cluster']['connection_limit']:,}", CLOSED),
        Limit("connections of handlers to S3", f"{connections['s3']['connection_limit']:,}", CLOSED),
        Limit(
            "connections in all",
            f"{monitor['typed_config']['max_active_downstream_connections']:,}",
            CLOSED,
        ),
        Limit(
            "requests that wait at submit, and at results",
            f"{upstream['max_requests']:,} each",
            "503, with `Retry-After`",
        ),
        Limit(
            "requests a second from one address",
            "none",
            "429, with `Retry-After: 1`",
            "`insula up --requests-per-address N`",
        ),
    )


QUEUE: Final = (
    Limit(
        "workloads of an API that wait or run",
        f"`max_replica_concurrency` times `max_replicas`: {QUEUE_DEFAULT:,} by default",
        f"429 `QUEUE_FULL`, with `Retry-After: {ledger.FULL_RETRY.seconds}`; nothing is stored",
        "`autoscaling` in cortex.yaml",
    ),
    Limit(
        "memory of Redis",
        "none with `insula up`; else its `maxmemory`",
        f"429 `STORE_FULL`, with `Retry-After: {StoreFull().retry_after.seconds}`; running workloads still end",
        "`maxmemory` of Redis",
    ),
    Limit(
        "free space on the disk of the stores",
        f"the larger of {size(ROOM_BYTES_MIN)} and {ROOM_SHARE_MIN * 100:g} % of the disk",
        f"503 `STORAGE_FULL`, with `Retry-After: {UNAVAILABLE_RETRY_S}`; running workloads still end",
        "free some space",
    ),
    Limit(
        "an `Idempotency-Key` is remembered",
        f"{span(ledger.IDEMPOTENCY_S)}, or the retention if that is shorter",
        "the same key makes a new workload",
    ),
    Limit(
        "lease: how long a worker may be silent",
        span(int(LEASE_S.default)),
        f"its workloads start again; a worker looks for them every {span(claiming.SCAN_S)}",
        f"`{LEASE_S.name}`",
    ),
    Limit(
        "lost attempts of a workload",
        str(MAX_DELIVERIES.default),
        "the third one fails it with `WORKER_LOST`",
        f"`{MAX_DELIVERIES.name}`",
    ),
    Limit(
        "workloads that wait in the queue of a handler process, behind the running ones",
        f"as many as it is expected to begin within {span(runner.AHEAD_S)}, at most {runner.AHEAD_MAX}",
        "the others wait in Redis",
    ),
    Limit(
        "failed reads of one payload from S3",
        f"at least {payloads.Patience().errors_min}, over at least {span(payloads.Patience().over_s)}, "
        "while S3 answers",
        "the workload fails with `PAYLOAD_UNREADABLE`; the payload is kept",
    ),
    Limit(
        "an ended workload is kept",
        span(int(RETENTION_S.default)),
        "a read is 404 `WORKLOAD_NOT_FOUND`; record and objects are deleted",
        f"`{RETENTION_S.name}`",
    ),
    Limit("bundle of a version that is not in use", span(BUNDLE_KEPT.total_seconds()), "it is deleted"),
    Limit("worker that does not report", span(3 * REPORT_S), "`insula get` no longer lists it"),
)
HANDLER: Final = (
    Limit("`handle_async`", "none", "it runs until it returns"),
    Limit(
        "`__init__`",
        span(int(START_TIMEOUT_S.default)),
        "the API is `failing`; it is tried again",
        f"`{START_TIMEOUT_S.name}`",
    ),
    Limit(
        "installing the packages, all steps together", span(BUILD_TIMEOUT_S), "the API is `failing`; it is tried again"
    ),
    Limit(
        "memory of the handler's processes",
        f"`compute.mem`, measured every {span(pool.LOOK_S)}",
        "the workload fails with `MEMORY_LIMIT`, and the handler starts again; "
        "not enforced for a handler that has more before its first workload",
        "`compute.mem` in cortex.yaml; none without it",
    ),
    Limit(
        "pause before a failed start is repeated",
        f"1 s, doubled each time up to {span(backoff.PAUSE_S_MAX)}",
        "",
    ),
    Limit(
        "time for running workloads after Ctrl-C",
        span(parts.WORKER_GRACE_S),
        "they return to the queue and start again from the beginning",
        f"fixed; without `insula up` `{GRACE_S.name}`, {span(int(GRACE_S.default))} by default",
    ),
    Limit("result", size(RESULT_BYTES_MAX), "the workload fails with `RESULT_TOO_LARGE`"),
    Limit(
        "nested levels of a result",
        f"about 1,000, where Python's encoder stops; the worker accepts {json_object.DEPTH_MAX:,}",
        "the workload fails with `RESULT_INVALID`",
    ),
    Limit("`error.message` of a failed workload", f"{outcomes.MESSAGE_CHARS_MAX:,} characters", "the end is cut off"),
    Limit(
        "traceback that is kept with a failed workload",
        size(outcomes.TRACEBACK_BYTES_MAX),
        f"the beginning is cut off; over {size(outcomes.TRACEBACK_INLINE_BYTES_MAX)} it is kept in S3",
    ),
    Limit("traceback in the log", f"{user_code.TRACEBACK_CHARACTERS_MAX:,} characters", "the beginning is cut off"),
    Limit("payload kept in Redis", size(admission.INLINE_BYTES_MAX), "a larger one is kept in S3"),
    Limit("result kept in Redis", size(outcomes.RESULT_INLINE_BYTES_MAX), "a larger one is kept in S3"),
    Limit("traceback kept in Redis", size(outcomes.TRACEBACK_INLINE_BYTES_MAX), "a larger one is kept in S3"),
    Limit(
        "payload that a worker keeps in memory",
        size(payloads.PAYLOAD_MEMORY_BYTES),
        "a larger one is kept in a temporary file",
    ),
    Limit(
        "payloads from S3 that a worker holds",
        size(payloads.HELD_BYTES_MAX),
        "others wait; a larger one waits until no other is held",
    ),
    Limit(
        "results of a worker that wait for S3",
        size(outcomes.STORING_BYTES_MAX),
        "it claims no further workload until S3 has taken some; those that it has claimed go on",
    ),
)
LOGS: Final = (
    Limit(
        "line that a handler prints or logs",
        size(line.LINE_BYTES_MAX),
        "it is dropped, and counted in `insula_log_lines_dropped` with the reason `too_long`",
    ),
    Limit(
        "lines that wait because the reader of a worker's standard output is slow",
        size(stdout_writer.WAITING_BYTES_MAX),
        "further ones are dropped, and counted with the reason `not_read`",
    ),
    Limit(
        "lines of a worker that `insula logs` can show",
        f"{ring.LINES_MAX:,} lines or {size(ring.BYTES_MAX)}, whichever comes first",
        "the oldest are dropped",
    ),
    Limit("line that `insula logs` prints", size(line.LONG_LINE_BYTES), "`message` is cut; the log file has all of it"),
    Limit(
        "row of a log line in `--log plain`",
        f"{log_lines.CHARACTERS_MAX:,} characters",
        "the end is cut off; the log file has all of it",
    ),
    Limit(
        "log line in `--log json` of `insula up`",
        size(part_output.LINE_BYTES_MAX),
        "the end is cut off, so its JSON is incomplete; the log file has all of it",
    ),
    Limit(
        "log file of a part, `.insula/logs/<part>.log`",
        size(part_output.LOG_BYTES_MAX),
        "a new one begins; the previous one is kept as `.log.1`",
    ),
)
METRICS: Final = (
    Limit("a metric's name", f"{pushed.NAME_CHARACTERS_MAX} characters", "the call raises `ValueError`"),
    Limit("tags of one push", str(pushed.TAGS_MAX), "the push is dropped; the log says so once for each metric"),
    Limit("a tag's name and its value", f"{pushed.TAG_CHARACTERS_MAX} characters each", "the end is cut off"),
    Limit("metrics of one worker", str(kept.METRICS_MAX), "a further one is dropped; the log says so once"),
    Limit(
        "different tags of one metric",
        f"{kept.SERIES_MAX:,}; {kept.SERIES_IN_ALL_MAX:,} of all metrics",
        'further ones are counted together, under the label `otel_metric_overflow="true"`',
    ),
)
PROJECT: Final = (
    Limit("cortex.yaml", size(configuration.FILE_BYTES_MAX), "`PROJECT_INVALID`"),
    Limit("values in cortex.yaml", f"{tree.NODES_MAX:,}, nested {tree.DEPTH_MAX} deep", "`PROJECT_INVALID`"),
    Limit("configuration of one API, as JSON", size(spec.SPEC_BYTES_MAX), "`PROJECT_INVALID`"),
    Limit("a duration in cortex.yaml", span(DURATION_MAX.total_seconds()), "`PROJECT_INVALID`"),
    Limit("parts of an endpoint between slashes", str(rules.ENDPOINT_SEGMENTS_MAX), "`PROJECT_INVALID`"),
    Limit("`.env`", size(env_file.ENV_FILE_BYTES_MAX), "`PROJECT_INVALID`"),
    Limit(
        "file of the project",
        size(files.FILE_BYTES_MAX),
        "`PROJECT_INVALID`",
        "leave it out in `.cortexignore`, see [models](writing-a-handler.md#files-and-models)",
    ),
    Limit(
        "all files of the project",
        size(files.PROJECT_BYTES_MAX),
        "`PROJECT_INVALID`",
        "leave some out in `.cortexignore`",
    ),
    Limit("number of files", f"{files.FILES_MAX:,}", "`PROJECT_INVALID`", "leave some out in `.cortexignore`"),
    Limit(
        "a path in the project",
        f"{extraction.PATH_BYTES_MAX - 1:,} bytes, {extraction.NAME_BYTES_MAX - 1} for each name",
        "`PROJECT_INVALID`",
    ),
    Limit("folders inside each other", str(files.DEPTH_MAX), "`PROJECT_INVALID`"),
    Limit("the zip that `DeployApi` takes", size(extraction.BUNDLE_BYTES_MAX), "`PROJECT_INVALID`"),
)
MACHINE: Final = (
    Limit("path of the data directory", f"{preflight.DATA_PATH_BYTES_MAX} bytes", "`insula up` refuses to start"),
    Limit("workers of one API", str(preflight.REPLICAS_MAX), "`insula up` refuses to start"),
    Limit("processes of submit, and of results", str(preflight.PROCESSES_MAX), "`insula up` refuses to start"),
    Limit(
        "free disk space at the start",
        f"the larger of {size(START_BYTES)} and {ROOM_SHARE_MIN * 100:g} % of the disk",
        "`insula up` refuses to start",
    ),
    Limit(
        "crashes of one part while the stack starts", str(stack.DEATHS_MAX), "`insula up` shows its last lines and ends"
    ),
)


def table(rows: Sequence[Limit]) -> str:
    """The rows as a table of Markdown."""
    head = "| what | limit | what happens above it | what changes it |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page() -> str:
    """Return the text of docs/limits.md."""
    chapters = {
        "Requests": (*_requests(), *_connections()),
        "Queue and retention": QUEUE,
        "Handlers": HANDLER,
        "Logs": LOGS,
        "Metrics of a handler": METRICS,
        "Projects": PROJECT,
        "`insula up`": MACHINE,
    }
    return "\n".join([INTRODUCTION, *(f"## {title}\n\n{table(rows)}" for title, rows in chapters.items())])
