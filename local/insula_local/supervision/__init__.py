"""Supervises a part: starts, probes, watches, restarts and stops its process, and takes its output."""
