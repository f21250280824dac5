"""Admission of workloads, and the registry of APIs, over gRPC."""
