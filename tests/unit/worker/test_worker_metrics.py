from __future__ import annotations

import re
from types import SimpleNamespace
from typing import cast

from insula.status import Status
from insula.telemetry.metrics import Instrument, Telemetry
from insula_worker import metrics
from insula_worker.logs.worker_log import WorkerLog


def test_each_instrument_is_exported_with_the_kind_and_the_labels_that_it_declares() -> None:
    """docs/metrics.md is written from these declarations."""
    telemetry = Telemetry()
    log = cast(WorkerLog, SimpleNamespace(lines_too_long=1, lines_unread=2))
    worker = metrics.WorkerMetrics(telemetry, "greeter", log)
    worker.observe_active(lambda: 1)
    worker.ended([(Status.COMPLETED, 0.1)])
    text = telemetry.render()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for instrument in (each for each in vars(metrics).values() if isinstance(each, Instrument)):
        assert kinds.pop(instrument.name) == instrument.kind
        suffix = "_count" if instrument.kind == "histogram" else ""
        sample = re.search(rf"^{instrument.name}{suffix}{{(.*)}}", text, re.MULTILINE)
        assert sample is not None
        assert set(re.findall(r'(\w+)="', sample[1])) == {"api_name", "api_kind", *instrument.labels}
    assert kinds == {}
