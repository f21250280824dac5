"""Deploys the APIs of a stack, at the start and whenever their files are saved, and waits until each is ready."""
