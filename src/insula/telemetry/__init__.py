"""Metrics and log lines of the services."""
