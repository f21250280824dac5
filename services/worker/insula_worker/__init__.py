"""The worker: claims the workloads of one API and has a handler process run them."""
