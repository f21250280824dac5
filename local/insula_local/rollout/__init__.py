"""Deploys the APIs of a stack, now and whenever their files are saved, and follows each until it is ready."""
