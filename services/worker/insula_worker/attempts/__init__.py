"""Attempts: claims workloads, renews their leases, runs each one and writes its outcome."""
