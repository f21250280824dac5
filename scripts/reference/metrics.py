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

Written by `make reference` from the instruments of the services; do not edit.

A service with `INSULA_METRICS_LISTEN` answers `GET /metrics` at that address, in Prometheus' text format. Without the
variable it measures nothing. `results` serves the queues of all APIs; it reads them from Redis at each scrape. Each
worker serves its own workloads, its log, and the metrics of its handler. Every metric below has the labels `api_name`
and `api_kind`. Names that start with `cortex_` are those of Cortex.
"""
UNITS: Final = {"{workload}": "workloads", "{line}": "lines", "s": "seconds"}
PARTS: Final[dict[str, ModuleType]] = {"results": insula_results.queue_gauges, "a worker": insula_worker.metrics}
NOTES: Final = f"""\
A histogram `NAME` is exported as `NAME_bucket`, `NAME_sum` and `NAME_count`. Its buckets end at these seconds, and at
infinity: {", ".join(f"{bound:g}" for bound in SECONDS_BOUNDARIES)}.

While Redis does not answer, `results` exports no queue lengths.

## Where to scrape

`insula up` has one address for all metrics. It prints the URLs once it is up. `insula up --json` prints them as
JSON, and `.insula/run/stack.json` holds them: `{scrapes.RESULTS}` for the queues, `{scrapes.worker_path("NAME")}` for
the worker of the API `NAME`. This configuration of Prometheus scrapes two APIs, `greeter` and `thumbnailer`, at the
metrics address 127.0.0.1:9464:

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

Beyond one machine, scrape each service at its own `INSULA_METRICS_LISTEN`, with the path `/metrics`. Every replica of
`results` exports the same queue lengths: take the maximum of them, not the sum. Envoy has metrics of its own on its
admin address, at `/stats/prometheus`.

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
    """Return the text of docs/metrics.md."""
    lines = [INTRODUCTION, "| metric | kind | unit | further labels | served by | what it says |", f"|{'---|' * 6}"]
    for part, module in PARTS.items():
        for each in instruments(module):
            labels = ", ".join(f"`{label}`" for label in each.labels)
            cells = (f"`{each.name}`", each.kind, UNITS[each.unit], labels, part, each.description)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", NOTES, limits.table(limits.METRICS)])
