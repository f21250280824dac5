"""Modules that a handler can import, as with Cortex. `log` has the logger; `metrics` has the class MetricsClient."""
