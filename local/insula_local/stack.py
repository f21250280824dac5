"""Which part starts and stops when.

    Valkey ──────────────┐
    SeaweedFS ── bucket ─┴─ results, submit ── deploy ── worker per API ── up
    Envoy

The rollout says when the bucket is there and which API is deployed. Stopping goes the other way round: the edge closes
its listeners for callers, the workers give back what they cannot finish, the edge ends with the services, and the
stores end last. Handlers reach S3 through the edge until they have ended.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from insula_local import envoy_admin, scrapes
from insula_local.machine.disk import DiskNews
from insula_local.parts import FOLLOW_TASK, ROLLOUT_TASK, Parts, worker_part
from insula_local.rollout.events import DEPLOYED, FAILING, PENDING, PHASE, READY, STATE, STORED, Event
from insula_local.supervision.supervise import Part, Supervised
from insula_local.view.plain import Announcement, ApiState, View

DEATHS_MAX: Final = 5
"""A part that dies so often in a row before the stack was ever up will not come up by itself."""
INTERRUPTED: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""Exit codes of a stack that was told to stop before it was up."""
FAILED: Final = 1
DISK_EVERY_S: Final = 2.0
API_DEPLOYED: Final = "api deployed"
"""Message of the line that submit logs of each deployment, with api, version and endpoint."""


class Stack:
    """One stack, from its start to its end."""

    def __init__(
        self, parts: Parts, apis: Sequence[ApiState], view: View, announce: Callable[[Announcement], None]
    ) -> None:
        self._parts = parts
        self._apis: Final = {api.name: api for api in apis}
        self._awaited: Final = [api.name for api in apis]
        self._view: Final = view
        self._announce: Final = announce
        self._disk: Final = DiskNews(parts.data.path)
        self._versions: Final[dict[str, str]] = {}
        self._deployed_at: Final[dict[str, float]] = {}
        self._news: Final[set[str]] = set()  # deployed since the stack is up, and not ready yet
        self._running: Final[dict[str, Supervised]] = {}
        self._scrapes: Final = parts.scrapes()
        self._group: Final = asyncio.TaskGroup()
        self._began: Final = time.monotonic()
        self._stored: Final = asyncio.Event()
        self._settled: Final = asyncio.Event()
        self._stop: Final = asyncio.Event()
        self._exit_code: int | None = None

    async def run(self) -> int:
        """Run until told to stop; the exit code. Call it on the main thread."""
        loop = asyncio.get_running_loop()
        # An ignored SIGHUP is nohup's wish; an ignored SIGINT is nobody's: shells start every background job with it.
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set[signal.Signals]()
        for number in INTERRUPTED.keys() - ignored:
            loop.add_signal_handler(number, self._on_signal, number)
        await self._scrapes.start(*self._parts.metrics_address)
        async with self._group:
            under_way = [self._group.create_task(work) for work in (self._come_up(), self._watch_disk())]
            await self._stop.wait()
            for task in under_way:
                task.cancel()
            await self._shut_down()
        return self._exit_code or 0

    async def _come_up(self) -> None:
        self._write_down()
        parts = self._parts
        stores = [] if parts.settings.redis_url else [self._start(parts.valkey())]
        stores.append(self._start(parts.seaweedfs()))
        edge = self._start(parts.envoy())
        self._start_rollout(ROLLOUT_TASK)
        await asyncio.gather(self._stored.wait(), *(store.ready.wait() for store in stores))
        services = [self._start(parts.results()), self._start(parts.submit(self._on_log_line))]
        await asyncio.gather(self._settled.wait(), *(part.ready.wait() for part in (edge, *services)))
        self._exit_code = 0
        self._view.up()
        self._write_down()
        self._announce(self._announcement())

    def _write_down(self) -> None:
        """Say where we are to `insula get` and its like; they find us while we start, too."""
        self._parts.data.write("stack.json", self._announcement().as_json())

    async def _watch_disk(self) -> None:
        while True:
            if told := self._disk.look():
                self._view.say(told)
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
            worker_metrics={name: parts.metrics_url(scrapes.worker_path(name)) for name in self._apis},
            data=parts.data.path,
            seconds=self._elapsed_s(),
            apis=tuple(self._apis.values()),
        )

    def _start(self, part: Part) -> Supervised:
        supervised = self._running[part.name] = Supervised(part, self)
        self._group.create_task(supervised.run())
        return supervised

    def _start_rollout(self, task: str) -> None:
        supervised = self._running["rollout"] = Supervised(self._parts.rollout(task, self._on_event), self)
        self._group.create_task(self._run_rollout(supervised))

    async def _run_rollout(self, supervised: Supervised) -> None:
        """Run it, and another if something was deployed after its last look: who else says when that is ready?"""
        await supervised.run()
        if self._news and not self._stop.is_set():
            self._news.clear()
            self._start_rollout(FOLLOW_TASK)

    def _on_event(self, line: str) -> None:
        match Event.parse(line):
            case Event(kind=kind) if kind == STORED:
                self._stored.set()
            case Event(kind=kind) as event if kind == DEPLOYED:
                self._on_deployed(event)
            case Event(kind=kind, api=api, state=phase) if kind == PHASE:
                self._view.phase(api, phase)
            case Event(kind=kind, api=api, state=state, reason=reason) if kind == STATE:
                self._settle(api, state, reason)
            case _:
                self._view.say(line)

    def _on_log_line(self, line: str) -> None:
        """Of submit's log, the line of a deployment: by us, or by `insula deploy`."""
        if f'"message": "{API_DEPLOYED}"' in line:
            fields = json.loads(line)
            self._on_deployed(Event(DEPLOYED, fields["api"], version=fields["version"], endpoint=fields["endpoint"]))

    def _on_deployed(self, event: Event) -> None:
        """A version is registered: by us at the start, or by `insula deploy` and --watch at any time."""
        name = event.api
        self._apis.setdefault(name, ApiState(name, self._parts.public_url + event.endpoint))
        if self._versions.get(name) == event.version or self._stop.is_set():
            return
        self._versions[name] = event.version
        if self._exit_code is not None:
            self._deployed_at[name] = time.monotonic()
            self._view.deployed(name)
            self._news.add(name)
            if self._running["rollout"].over:
                self._start_rollout(FOLLOW_TASK)
        if worker_part(name) not in self._running:
            self._parts = self._parts.with_api(name)
            self._start(self._parts.worker(name, lambda line: self._view.handler_line(name, line)))

    def _settle(self, name: str, state: str, reason: str) -> None:
        """An API is ready or failing. The first time this holds for all that were asked for, the stack is up."""
        api = self._apis[name]
        unchanged = (api.state, api.reason) == (state, reason) and name not in self._news
        api.state, api.reason = state, reason
        if state == READY:
            self._news.discard(name)
        if unchanged:  # a rollout that follows a deployment tells of all APIs
            return
        self._view.api(api, time.monotonic() - self._deployed_at.get(name, self._began))
        if all(self._apis[each].state != PENDING for each in self._awaited):
            self._settled.set()

    def starting(self, part: str) -> None:
        """See Watcher. A worker is shown as its API, and the rollout not at all."""
        api = self._api_of(part)
        if api is not None or self._running[part].part.announced:
            self._view.starting(api or part)

    def ready(self, part: str, seconds: float) -> None:
        """See Watcher. A worker that runs says nothing yet of its API."""
        if self._running[part].part.announced:
            self._view.ready(part, seconds)

    def died(self, part: str, how: str, again_s: float, lines: list[str]) -> None:
        """See Watcher. A part that never comes up ends the attempt; a worker fails its API alone."""
        self._view.died(part, how, again_s, [] if self._disk.full else lines)  # then each end has the same reason
        if self._exit_code is not None or self._running[part].backoff.deaths < DEATHS_MAX:
            return
        api = self._api_of(part)
        if api is None:
            words = self._running[part].last_words or [how]
            self._view.say(f"{part} does not start: {words[-1]} (its log: {self._running[part].part.log})")
            self._exit_code = FAILED
            self._stop.set()
        elif self._apis[api].state == PENDING:
            self._settle(api, FAILING, "\n".join([f"its worker {how}", *self._running[part].last_words]))

    def _api_of(self, part: str) -> str | None:
        return next((name for name in self._apis if worker_part(name) == part), None)

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
        """What is stopped together, in order."""
        stages = {"rollout": 0, "envoy": 2, "submit": 2, "results": 2, "valkey": 3, "seaweedfs": 3}
        for stage in range(4):
            yield [each for name, each in self._running.items() if stages.get(name, 1) == stage]

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began
