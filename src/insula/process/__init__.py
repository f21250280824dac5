"""Operating system processes: the start of a service, its children, and the isolation of handlers."""
