"""The environment of a project: its files as a handler finds them, and the packages installed for it."""
