"""Insula with stores that demand TLS, users, keys and roles. The files share one Redis and one S3."""
