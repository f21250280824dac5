"""Reads of workloads, over gRPC."""
