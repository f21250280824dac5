"""The service results: answers reads of workloads over gRPC, and deletes old data."""
