"""Clients of Redis, S3 and the disk, and the translation of their errors."""
