"""Attempts: which workloads this worker claims, the leases it keeps, and the way of each to its outcome."""
