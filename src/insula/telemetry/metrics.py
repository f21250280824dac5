"""Metrics of a service: OpenTelemetry instruments, declared as constants, served as Prometheus text at /metrics.

OpenTelemetry is loaded when `Telemetry` is created. A service creates it only if it has an address for scrapes.
Metrics are exported under their declared names, because dashboards use them. OpenTelemetry's own exporter would append
units and "_total".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from insula.errors import InsulaError
from insula.rpc.addresses import unix_socket

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation, _Gauge

log = logging.getLogger(__name__)

SECONDS_BOUNDARIES: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0
)  # fmt: skip
"""Boundaries of histograms, from a fast handler to an hour. OpenTelemetry's defaults are for milliseconds."""
REQUEST_S: Final = 5.0
SCRAPE_S: Final = 10.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPortTaken(InsulaError):
    """The metrics server cannot listen at its address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"cannot serve metrics on {address}: it is taken, or not an address of this machine")


@dataclass(frozen=True)
class Instrument:
    """A metric: its name, its unit in OpenTelemetry's notation, and its description.

    `labels` are its labels in addition to `api_name` and `api_kind`.
    """

    name: str
    unit: str
    description: str
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    labels: tuple[str, ...] = ()


Reading = tuple[float, Mapping[str, str]]
"""A value and its labels."""


class Telemetry:
    """The metrics of one service."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        self._reader = InMemoryMetricReader()
        # No exit handler, because there is nothing to flush. An empty resource, because detectors read the environment.
        self._provider = MeterProvider([self._reader], Resource.get_empty(), shutdown_on_exit=False)
        self.meter: Final[Meter] = self._provider.get_meter("insula")

    def counter(self, instrument: Instrument) -> Counter:
        """Create a counter."""
        return self.meter.create_counter(instrument.name, instrument.unit, instrument.description)

    def gauge(self, instrument: Instrument) -> _Gauge:
        """Create a gauge."""
        return self.meter.create_gauge(instrument.name, instrument.unit, instrument.description)

    def histogram(self, instrument: Instrument) -> Histogram:
        """Create a histogram with SECONDS_BOUNDARIES."""
        return self.meter.create_histogram(
            instrument.name,
            instrument.unit,
            instrument.description,
            explicit_bucket_boundaries_advisory=SECONDS_BOUNDARIES,
        )

    def observe(self, instrument: Instrument, read: Callable[[], Sequence[Reading]]) -> None:
        """At each scrape, call `read` and export the values that it returns, as a gauge or a counter."""
        from opentelemetry.metrics import Observation

        def callback(options: CallbackOptions) -> list[Observation]:  # noqa: ARG001 - the callback's signature
            return [Observation(value, labels) for value, labels in read()]

        counts = instrument.kind == "counter"
        create = self.meter.create_observable_counter if counts else self.meter.create_observable_gauge
        create(instrument.name, [callback], instrument.unit, instrument.description)

    def render(self) -> str:
        """Return the current values of all metrics as Prometheus text."""
        from insula.telemetry.prometheus_text import render

        data = self._reader.get_metrics_data()
        return render(data) if data is not None else ""


class MetricsServer:
    """Serves GET /metrics over HTTP/1.1, one request for each connection."""

    def __init__(self, address: str, telemetry: Telemetry, before: Callable[[], Awaitable[None]] | None = None) -> None:
        """`before` is awaited before each scrape, to fetch the values that the callbacks of `Telemetry.observe` return.

        It must end within a bounded time and must not raise.
        """
        self.address: Final = address
        self._telemetry = telemetry
        self._before = before
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Start listening. Raises MetricsPortTaken."""
        host, _, port = self.address.rpartition(":")
        try:
            if (path := unix_socket(self.address)) is not None:
                self._server = await asyncio.start_unix_server(self._answer, path)
            else:
                self._server = await asyncio.start_server(self._answer, host.strip("[]"), int(port))
        except (OSError, ValueError, OverflowError) as error:
            raise MetricsPortTaken(self.address) from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
            async with asyncio.timeout(SCRAPE_S):
                reply = await self._reply(head)
                if not writer.is_closing():  # else uvloop would raise RuntimeError
                    writer.write(reply)
                    await writer.drain()
        writer.close()

    async def _reply(self, head: bytes) -> bytes:
        method, _, rest = head.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != "/metrics":
            return response("404 Not Found", "only /metrics is served here\n")
        if method not in ("GET", "HEAD"):
            return response("405 Method Not Allowed", "only GET is allowed\n")
        if self._before is not None:
            await self._before()
        text = await asyncio.to_thread(self._telemetry.render)
        return response("200 OK", text, with_body=method == "GET")


def response(status: str, text: str, *, with_body: bool = True) -> bytes:
    """Return an HTTP/1.1 response with `Connection: close`."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
