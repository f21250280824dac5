"""Runners: the processes that run a handler. Starts them, sends them jobs, reads their output and ends them."""
