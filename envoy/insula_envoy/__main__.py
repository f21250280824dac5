"""Run the edge: `python -m insula_envoy`. Renders the configuration from the environment, and runs `envoy` with it.

At SIGTERM Envoy asks its callers to close their connections. It accepts new ones for ACCEPT_S seconds, because a load
balancer notices the stop later. It ends when no request runs any more, or after the grace period. Without this program,
Envoy would end at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from insula.errors import InsulaError
from insula.printing import note
from insula_envoy import EdgeAddresses, admin, render, render_s3_stream
from insula_envoy.settings import Settings

ACCEPT_S: Final = 5
LOOK_S: Final = 0.2
THREADS: Final = 2
"""Threads of Envoy. By default it starts one for each core of the machine, even if its container has a lower limit."""
LISTEN: Final = "0.0.0.0"  # noqa: S104 - a container is reached from outside
PUBLIC_PORT: Final = 8080
S3_PORT: Final = 8333


async def run(settings: Settings) -> int:
    """Run Envoy until it ends or SIGTERM arrives, and return its exit code."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with TemporaryDirectory(prefix="insula-edge-") as folder:
        socket, configuration = Path(folder, "admin"), _write_configuration(Path(folder), settings)
        flags = ["--disable-hot-restart", "--concurrency", str(THREADS), "--log-level", "warning"]
        flags += ["--drain-time-s", str(ACCEPT_S), "--drain-strategy", "immediate"]
        if settings.s3:
            flags += ["--config-yaml", render_s3_stream(LISTEN, S3_PORT, settings.s3)]
        # Its own session: a Ctrl-C on the terminal reaches this process only.
        envoy = await asyncio.create_subprocess_exec("envoy", "-c", configuration, *flags, start_new_session=True)
        ended, stopped = asyncio.create_task(envoy.wait()), asyncio.create_task(stopping.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            await _drain(envoy, socket, settings.grace.total_seconds())
        return await ended


async def _drain(envoy: Process, socket: Path, grace_s: float) -> None:
    """Wait until no request runs, for `grace_s` seconds at most. Then send SIGTERM to Envoy."""
    note("edge: draining")
    try:
        async with asyncio.timeout(grace_s):
            await asyncio.to_thread(admin.call, socket, "POST", "/drain_listeners?graceful&skip_exit")
            await asyncio.sleep(ACCEPT_S)
            while await asyncio.to_thread(admin.active_requests, socket):  # noqa: ASYNC110 - Envoy can set no Event
                await asyncio.sleep(LOOK_S)
    except (TimeoutError, admin.EnvoyUnavailable):
        pass
    if envoy.returncode is None:
        envoy.terminate()


def _write_configuration(folder: Path, settings: Settings) -> Path:
    edge = EdgeAddresses(
        public_address=LISTEN,
        public_port=PUBLIC_PORT,
        internal_address=LISTEN,
        submit=[settings.submit],
        results=[settings.results],
        admin=f"unix:{folder}/admin",
        payload_bytes_max=settings.payload_bytes_max,
        cors_origins=settings.cors_origins,
        address_requests_per_s=settings.address_requests_per_s,
    )
    path = folder / "envoy.yaml"
    path.write_text(render(edge), encoding="utf-8")
    return path


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(run(Settings.read(os.environ))))
    except InsulaError as failure:
        sys.exit(f"edge: {failure}")
