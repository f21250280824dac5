"""Supervises a part: starts, probes, restarts and stops its process, and collects its output."""
