"""Runners, the processes that run a handler: their start, their jobs, their output and their end."""
