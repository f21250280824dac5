"""The order in which parts start and stop.

    Valkey ──────────────┐
    SeaweedFS ── bucket ─┴─ results, submit ── deploy ── workers of each API ── up
    Envoy

Workers are started when their API is deployed. The stop has the reverse order: the edge closes its listeners for
callers, the workers return unfinished workloads to the queue, the edge and the services end, and the stores end last.
Handlers can reach S3 through the edge until they have ended.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Final

from insula.phase import ApiState
from insula.project.consent import Confirmations
from insula_local import envoy_admin, scrapes
from insula_local.api import LocalApi
from insula_local.machine.disk import DiskWatch
from insula_local.parts import Parts
from insula_local.plan import WorkerId
from insula_local.rollout.rollout import Rollout
from insula_local.seaweedfs import filer
from insula_local.seaweedfs.storage import BUCKET
from insula_local.supervision.supervise import Part, Supervised
from insula_local.view.plain import Announcement, View

DEATHS_MAX: Final = 5
"""If a part dies this many times in a row before the stack is up, the start of the stack fails. If the part is a
worker, only its API fails."""
INTERRUPTED: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""Exit codes of a stack that was stopped before it was up."""
FAILED: Final = 1
DISK_EVERY_S: Final = 2.0
API_DEPLOYED: Final = "api deployed"
"""Message that submit logs for each deployment, with the fields api, version and endpoint."""


class Stack:
    """One stack, from its start to its end. Create it on its event loop."""

    def __init__(self, parts: Parts, view: View, announce: Callable[[Announcement], None]) -> None:
        self._parts = parts
        self._view: Final = view
        self._announce: Final = announce
        self._disk: Final = DiskWatch(parts.data.path)
        self._running: Final[dict[str, Supervised]] = {}
        self._workers: Final[dict[str, WorkerId]] = {}
        self._scrapes: Final = parts.scrapes()
        self._group: Final = asyncio.TaskGroup()
        self._began: Final = time.monotonic()
        self._settled: Final = asyncio.Event()
        self._stop: Final = asyncio.Event()
        self._exit_code: int | None = None
        self._rollout: Final = Rollout(
            parts.address("submit-admin"),
            parts.public_url,
            self,
            confirmations=Confirmations(parts.settings.cache) if parts.settings.ask else None,
            all_apis=parts.settings.redis_url is None,  # on the user's own Redis, other stacks may have APIs
            replicas=parts.plan.replicas,
        )
        self._rollout.expect(parts.plan.projects)

    async def run(self) -> int:
        """Run until stopped. Returns the exit code. Call it on the main thread."""
        loop = asyncio.get_running_loop()
        # nohup ignores SIGHUP, so that stays. Shells ignore SIGINT in background jobs, but it must stop the stack.
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set[signal.Signals]()
        for number in INTERRUPTED.keys() - ignored:
            loop.add_signal_handler(number, self._on_signal, number)
        await self._scrapes.start(*self._parts.metrics_address)
        async with self._group:
            under_way = [self._group.create_task(self._guarded(work)) for work in (self._come_up(), self._watch_disk())]
            await self._stop.wait()
            for task in under_way:
                task.cancel()
            self._rollout.close()
            await self._shut_down()
        return self._exit_code or 0

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        """Run `work`. An unexpected error is logged, and the stack stops with exit code 1."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a bug in `insula up` must not end it before the parts have stopped
            self._view.failed(error)
            self._exit_code = FAILED
            self._stop.set()

    async def _come_up(self) -> None:
        self._write_down()
        parts = self._parts
        stores = [] if parts.settings.redis_url else [self._start(parts.valkey())]
        stores.append(self._start(parts.seaweedfs()))
        edge = self._start(parts.envoy())
        await asyncio.gather(
            filer.prepare(parts.socket("filer"), parts.data.keys.token_key, BUCKET),
            *(store.ready.wait() for store in stores),
        )
        services = [self._start(parts.results(name)) for name in parts.plan.parts_of("results")]
        services += [self._start(parts.submit(name, self._on_log_line)) for name in parts.plan.parts_of("submit")]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._roll_out())
            await asyncio.gather(self._settled.wait(), *(part.ready.wait() for part in (edge, *services)))
            self._exit_code = 0
            self._view.up()
            self._write_down()
            self._announce(self._announcement())

    async def _roll_out(self) -> None:
        """Deploy the APIs and follow their states while the stack runs."""
        projects = self._parts.plan.projects
        await self._rollout.deploy_all(projects)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rollout.follow())
            if self._parts.settings.watch:
                from insula_local.rollout.watching import deploy_what_is_saved

                configurations = dict.fromkeys(project.config_path for project in projects)
                group.create_task(deploy_what_is_saved(self._rollout, configurations, self._view.say))

    def _write_down(self) -> None:
        """Write stack.json, in which `insula get` and other commands find the stack, even before it is up."""
        self._parts.data.write("stack.json", self._announcement().as_json())

    async def _watch_disk(self) -> None:
        while True:
            if message := self._disk.look():
                self._view.say(message)
            await asyncio.sleep(DISK_EVERY_S)

    def _announcement(self) -> Announcement:
        parts = self._parts
        return Announcement(
            public=parts.public_url,
            internal=parts.internal_url,
            admin=parts.address("submit-admin"),
            redis=parts.redis_url_shown,
            s3_endpoint=parts.s3_endpoint,
            s3_environment=parts.handlers_s3,
            results_metrics=parts.metrics_url(scrapes.RESULTS),
            worker_metrics={
                worker.short: parts.metrics_url(scrapes.worker_path(worker.short))
                for api in self._rollout.apis
                for worker in parts.plan.workers(api)
            },
            data=parts.data.path,
            seconds=self._elapsed_s(),
            apis=tuple(self._rollout.apis.values()),
        )

    def _start(self, part: Part) -> Supervised:
        supervised = self._running[part.name] = Supervised(part, self)
        self._group.create_task(supervised.run())
        return supervised

    def _on_log_line(self, line: str) -> None:
        """Follow the deployment if this log line of submit reports one: by this stack or by `insula deploy`."""
        if f'"message": "{API_DEPLOYED}"' in line:
            fields = json.loads(line)
            self._rollout.deployed(fields["api"], fields["version"], fields["endpoint"])

    def api_deployed(self, api: LocalApi) -> None:
        """Show that a version was deployed. The first version of an API starts its workers."""
        if self._stop.is_set():
            return
        if self._exit_code is not None:
            api.since = time.monotonic()
            self._view.deployed(api.name)
        self._parts = self._parts.with_api(api.name)
        for worker in self._parts.plan.workers(api.name):
            if worker.part not in self._running:
                self._workers[worker.part] = worker
                self._start(self._parts.worker(worker, partial(self._on_worker_line, worker)))

    def _on_worker_line(self, worker: WorkerId, line: str) -> None:
        self._view.worker_line(worker.api, line, self._running[worker.part].pid)

    def api_slow(self, api: LocalApi) -> None:
        """Show that an API has been in one phase for a while."""
        self._view.phase(api, time.monotonic())

    def api_settled(self, api: LocalApi) -> None:
        """Show that an API is ready or failing. Once no API of the plan is pending, the start can finish."""
        self._view.api(api, time.monotonic() - api.since)
        awaited = (self._rollout.apis[project.spec.name] for project in self._parts.plan.projects)
        if all(each.state != ApiState.PENDING for each in awaited):
            self._settled.set()

    def starting(self, part: str) -> None:
        """Show that a part starts. A worker is shown by the name of its API."""
        api = self._api_of(part)
        if api is not None or self._running[part].part.announced:
            self._view.starting(api.name if api is not None else part)

    def ready(self, part: str, seconds: float) -> None:
        """Show that a part is ready. A worker is not shown, because its API may not be ready yet."""
        if self._running[part].part.announced:
            self._view.ready(part, seconds)

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        """Show that a part ended. After DEATHS_MAX deaths in a row, stop the stack or, for a worker, fail its API.

        Once the stack is up, a part may end any number of times.
        """
        self._view.died(part, how, again_s, [] if self._disk.full else lines)  # the disk is the reason
        if self._exit_code is not None or self._running[part].backoff.deaths < DEATHS_MAX:
            return
        api = self._api_of(part)
        if api is None:
            words = self._running[part].last_words or [how]
            self._view.say(f"{part} does not start: {words[-1]} (its log: {self._running[part].part.log})")
            self._exit_code = FAILED
            self._stop.set()
        elif api.state == ApiState.PENDING:
            words = [f"its worker {how}", *self._running[part].last_words]
            self._rollout.settle(api, ApiState.FAILING, "\n".join(words))

    def _api_of(self, part: str) -> LocalApi | None:
        return self._rollout.apis[self._workers[part].api] if part in self._workers else None

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._stop.is_set():
            self._exit_code = INTERRUPTED[number] if self._exit_code is None else self._exit_code
            self._stop.set()
        elif number == signal.SIGINT:
            for supervised in self._running.values():
                supervised.kill()

    async def _shut_down(self) -> None:
        began = time.monotonic()
        self._view.stopping()
        await envoy_admin.close_listeners(self._parts.socket("envoy-admin"))
        for stage in self._stages():
            await asyncio.gather(*(supervised.stop() for supervised in stage))
        await self._scrapes.stop()
        self._parts.sweep()
        self._view.stopped(time.monotonic() - began)

    def _stages(self) -> Iterable[list[Supervised]]:
        """Yield the groups of parts, in the order of the stop. The parts of one group are stopped together."""
        workers, stores = self._workers.keys(), {"valkey", "seaweedfs"}
        for names in (workers, self._running.keys() - workers - stores, stores):
            yield [each for name, each in self._running.items() if name in names]

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began
