"""The limits of batches: rows of docs/limits.md."""

from __future__ import annotations

from typing import Final

from insula.rpc.server import PAYLOAD_BYTES_MAX as MESSAGE_PAYLOAD_BYTES_MAX
from insula.settings import PAYLOAD_BYTES_MAX
from insula_results import fetching
from insula_submit import batches, ordered
from scripts.reference.limit import Limit, size, span

BATCHES: Final = (
    Limit(
        "body of `POST /{endpoint}:batch`, after decompression",
        size(int(PAYLOAD_BYTES_MAX.default)),
        "413 `PAYLOAD_TOO_LARGE`. If answers were already sent, the last line of the answer is this error. The "
        "remaining lines are not accepted",
        f"`{PAYLOAD_BYTES_MAX.name}`",
    ),
    Limit(
        "answers of a batch that the client has not read",
        f"{batches.LINES_MAX * ordered.UNREAD_MAX:,} lines, fewer if they arrive in small pieces",
        "the service stops reading the body; read the answers while sending, or send smaller batches",
    ),
    Limit(
        "payloads in one message of `SubmitWorkloads` (gRPC)",
        f"{batches.PAYLOADS_MAX:,}, and {size(MESSAGE_PAYLOAD_BYTES_MAX)} in all",
        "`INVALID_ARGUMENT` or `PAYLOAD_TOO_LARGE`; the call ends",
    ),
    Limit(
        "batch calls at once, of one process of submit",
        str(batches.CALLS_MAX),
        f"429 `RESOURCE_EXHAUSTED`; repeat it after {span(batches.BUSY_RETRY.seconds)}",
    ),
    Limit("ids in one `FetchWorkloads` (gRPC)", f"{fetching.IDS_MAX:,}", "400 `INVALID_ARGUMENT`"),
    Limit(
        "result in an answer of `FetchWorkloads`",
        size(fetching.RESULT_BYTES_MAX),
        "it is left out; `GetWorkload` returns it",
    ),
    Limit(
        "calls of `FetchWorkloads` at once, of one process of results",
        str(fetching.CALLS_MAX),
        f"429 `RESOURCE_EXHAUSTED`; repeat it after {span(fetching.BUSY_RETRY.seconds)}",
    ),
)
