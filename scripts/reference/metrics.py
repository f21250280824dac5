"""docs/metrics.md, from the instruments of the services."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Final

import insula_results.queue_gauges
import insula_worker.metrics
from insula.telemetry.metrics import SECONDS_BOUNDARIES, Instrument
from insula_local import scrapes
from insula_runner.handler.metrics import RESERVED_PREFIXES
from scripts.reference import limits

INTRODUCTION: Final = """\
# Metrics

<!-- Written by `make reference` from the instruments of the services; do not edit. -->

`insula up` serves metrics in Prometheus' text format. The [glossary](glossary.md) explains the words of this page. [A
handler can push metrics of its own](#metrics-of-a-handler).
"""
BUCKETS: Final = ", ".join(f"{bound:g}" for bound in SECONDS_BOUNDARIES)
UNITS: Final = {"{workload}": "workloads", "{line}": "lines", "s": "seconds"}
PARTS: Final[dict[str, ModuleType]] = {"results": insula_results.queue_gauges, "a worker": insula_worker.metrics}
SCRAPE: Final = f"""\
## Where to scrape

A stack has one address for all metrics. `insula up` prints its URLs once it is up, and they are in
`.insula/run/stack.json`: `{scrapes.RESULTS}` for the queues of all APIs, `{scrapes.worker_path("NAME")}` for the worker
of the API `NAME`. The port is a free one, chosen at the first start. Later starts use it again while it is free.

This configuration of Prometheus scrapes two APIs, `greeter` and `thumbnailer`. Replace 127.0.0.1:9464 by the address
that `insula up` prints. Add the name of each API that you deploy later.

```yaml
scrape_configs:
  - job_name: insula-queues
    metrics_path: {scrapes.RESULTS}
    static_configs:
      - targets: ["127.0.0.1:9464"]
  - job_name: insula-workers
    static_configs:
      - targets: [greeter, thumbnailer]
    relabel_configs: # the API's name becomes the path and the label `instance`
      - source_labels: [__address__]
        target_label: instance
      - source_labels: [__address__]
        target_label: __metrics_path__
        replacement: /workers/$1/metrics
      - target_label: __address__
        replacement: 127.0.0.1:9464
```

`results` reads the queues from Redis at each scrape. While Redis does not answer, it exports no queue lengths.

## All metrics

Every metric has the labels `api_name` and `api_kind`. The names that start with `cortex_` are those of Cortex 0.42.

"""
NOTES: Final = f"""\
A counter is exported under its name, without `_total`. A histogram `NAME` is exported as `NAME_bucket`, `NAME_sum` and
`NAME_count`. Its buckets end at these seconds, and at infinity: {BUCKETS}.

Services that are started without `insula up` serve `GET /metrics` at their `INSULA_METRICS_LISTEN`, see
[settings](settings.md). Each process of `results` then exports the same queue lengths: take the maximum, not the sum.
The metrics of Envoy are on its admin address, at `/stats/prometheus`. With `insula up` this is the Unix socket
`.insula/run/envoy-admin.sock`.

## Metrics of a handler

A handler that declares `metrics_client` in `__init__` can push metrics of its own:

```python
class Handler:
    def __init__(self, config, metrics_client):
        self.metrics = metrics_client

    def handle_async(self, payload):
        self.metrics.increment("pages", 3, tags={{"kind": "scan"}})
        self.metrics.gauge("model_age_days", 12)
        self.metrics.histogram("inference_seconds", 0.25)
        return {{"pages": 3}}
```

`increment` makes a counter, `gauge` a gauge, and `histogram` a histogram with the buckets above. A tag becomes a label.
A character that Prometheus does not allow in a name becomes `_`. A metric keeps the kind of its first use. A push never
waits for Prometheus. A value that is not a finite number is not pushed, and the log says so. A name that starts with
{" or ".join(f"`{prefix}`" for prefix in RESERVED_PREFIXES)} raises `ValueError`.
"""


def instruments(module: ModuleType) -> Iterator[Instrument]:
    """Yield the instruments that a module declares."""
    yield from (value for value in vars(module).values() if isinstance(value, Instrument))


def page() -> str:
    """The text of docs/metrics.md."""
    head = "| metric | kind | unit | further labels | served by | meaning |"
    lines = [INTRODUCTION, SCRAPE.rstrip("\n"), "", head, f"|{'---|' * 6}"]
    for part, module in PARTS.items():
        for each in instruments(module):
            labels = ", ".join(f"`{label}`" for label in each.labels)
            cells = (f"`{each.name}`", each.kind, UNITS[each.unit], labels, part, each.description)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", NOTES, limits.table(limits.METRICS)])
