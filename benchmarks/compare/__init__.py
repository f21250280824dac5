"""Compares Insula with other queues behind an HTTP API, on one machine: `make bench`."""
