"""The worker: claims the workloads of one API and runs them in a handler process."""
