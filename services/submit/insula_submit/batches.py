"""Batches: many payloads in one call. Each payload is accepted, or refused by an answer of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeAlias

from insula.errors import InsulaError, InvalidArgument, PayloadTooLarge, ResourceExhausted
from insula.registry import Registration
from insula.v1.submit_service_pb2 import SubmitWorkloadsRequest, SubmitWorkloadsResponse
from insula_submit.admission import Admission
from insula_submit.answers import as_lines, as_message
from insula_submit.encodings import decompressed
from insula_submit.envelope import Envelope, Metadata
from insula_submit.lines import Lines
from insula_submit.ordered import Ordered

Resolve: TypeAlias = Callable[[str], Awaitable[Registration]]

CALLS_MAX: Final = 32
"""Largest number of calls that submit batches to one process at the same time. Each uses up to 16 MiB of memory."""
PAYLOADS_MAX: Final = 1000
"""Largest number of payloads in one message of SubmitWorkloads."""
LINES_MAX: Final = 256
"""Largest number of lines in one step. The lines of a step are submitted together."""
STEP_BYTES: Final = 1024 * 1024
"""Once the lines of a step have this total size, the next line begins a new step."""
BUSY_RETRY: Final = timedelta(seconds=1)


class Batches:
    """Accepts the payloads of batches. Each call runs up to STEPS_MAX steps (see `ordered`) at once."""

    def __init__(self, admission: Admission, *, body_bytes_max: int) -> None:
        self._admission = admission
        self._body_bytes_max = body_bytes_max
        self._calls = 0

    async def messages(
        self, requests: AsyncIterator[SubmitWorkloadsRequest], resolve: Resolve, metadata: Metadata
    ) -> AsyncIterator[SubmitWorkloadsResponse]:
        """Yield the answer to each message, in order. `resolve` returns the API of a name, or raises ApiNotFound.

        Raises ResourceExhausted if CALLS_MAX calls run already. Raises InvalidArgument if a message has no payload or
        more than PAYLOADS_MAX.
        """

        async def answer(request: SubmitWorkloadsRequest) -> SubmitWorkloadsResponse:
            try:
                headers = [*metadata, ("idempotency-key", request.idempotency_key)]
                envelope = Envelope.read(request.content_type, headers)
                api = await resolve(request.api)
            except InsulaError as error:
                return as_message([error] * len(request.payloads))
            return as_message(await self._admission.accept_many(api, envelope, request.payloads, request.first_number))

        async def feed() -> None:
            async for request in requests:
                if not 1 <= len(request.payloads) <= PAYLOADS_MAX:
                    count = len(request.payloads)
                    raise InvalidArgument(f"payloads: a message must have 1 to {PAYLOADS_MAX} (got {count})")
                await ordered.start(answer(request))

        ordered = Ordered(SubmitWorkloadsResponse())
        with self._call():
            async for response in ordered.results(feed()):
                yield response

    async def lines(self, api: Registration, envelope: Envelope, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the answers to the lines of a body, in order: one piece or more, each with whole lines.

        `envelope` applies to each line, except `is_gzip`, which applies to the body. Raises ResourceExhausted,
        EncodingInvalid or PayloadTooLarge if the body is refused before the first answer. If it is refused later, the
        error is the last answer, and the lines after it are not accepted.
        """
        ordered, answered, of_line = Ordered(b""), False, replace(envelope, is_gzip=False)
        body = self._limited(decompressed(chunks) if envelope.is_gzip else chunks)
        try:
            with self._call():
                async for answers in ordered.results(self._feed(api, of_line, Lines(body, ordered.probe), ordered)):
                    answered = True
                    yield answers
        except InsulaError as error:
            if not answered:
                raise
            yield as_lines([error])
        if not answered:
            yield b""

    async def _feed(self, api: Registration, envelope: Envelope, lines: Lines, ordered: Ordered[bytes]) -> None:
        async def answer(some: Sequence[bytes], number: int) -> bytes:
            return as_lines(await self._admission.accept_many(api, envelope, some, number))

        async def answer_long(pieces: AsyncIterator[bytes], number: int) -> bytes:
            found = await self._admission.accept_alone(api, envelope.numbered(number), pieces)
            async for _ in pieces:  # of a refused line; the next one begins after it
                pass
            return as_lines([found])

        number = 1
        async for found in lines:
            if isinstance(found, list):
                for some in _steps(found):
                    await ordered.start(answer(some, number))
                    number += len(some)
            else:
                await ordered.run(answer_long(found, number))
                number += 1

    @contextmanager
    def _call(self) -> Generator[None]:
        if self._calls >= CALLS_MAX:
            raise ResourceExhausted(f"{CALLS_MAX} calls submit batches already; try again", BUSY_RETRY)
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _limited(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the decompressed chunks. Raises PayloadTooLarge once their sum is over `body_bytes_max`."""
        size_bytes = 0
        async for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > self._body_bytes_max:
                raise PayloadTooLarge(self._body_bytes_max)
            yield chunk


def _steps(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines in lists of up to LINES_MAX lines and about STEP_BYTES."""
    step, size_bytes = list[bytes](), 0
    for line in lines:
        step.append(line)
        size_bytes += len(line)
        if len(step) == LINES_MAX or size_bytes >= STEP_BYTES:
            yield step
            step, size_bytes = [], 0
    if step:
        yield step
