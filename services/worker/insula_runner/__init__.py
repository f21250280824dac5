"""The handler's side of a worker: a child interpreter that owns user code and nothing else.

Standard library only, Python 3.8 and later: it runs in whatever interpreter and environment the project brings.
"""
