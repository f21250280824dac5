"""The runner: the worker's child process that imports the user's class and runs it.

It runs in the project's environment. So it uses only the standard library, and runs on Python 3.8 or later.
"""
