"""Insula on Kubernetes: the objects of each API, and the images that they name. Only the commands import it."""
