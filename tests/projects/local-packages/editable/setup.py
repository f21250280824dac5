from setuptools import setup

setup(name="insula-test-two", version="1.0", py_modules=["two"])
