"""Insula on several hosts: network namespaces that a bridge joins, with a DNS server. Needs root."""
