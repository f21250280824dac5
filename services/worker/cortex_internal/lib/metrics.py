"""`from cortex_internal.lib.metrics import MetricsClient`: the class of a handler's `metrics_client`."""

from insula_runner.handler.metrics import MetricsClient

__all__ = ["MetricsClient"]
