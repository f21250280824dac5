"""The worker's log: the format of its lines, the latest lines for StreamLogs, and the writer to stdout."""
