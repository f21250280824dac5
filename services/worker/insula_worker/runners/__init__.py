"""Runners, the processes that hold a handler: their start, the jobs they run, what they print, and their end."""
