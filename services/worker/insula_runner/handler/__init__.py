"""Finds and checks the user's class, provides the arguments of its `__init__`, and runs its event loop."""
