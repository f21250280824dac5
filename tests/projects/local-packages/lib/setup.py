from setuptools import setup

setup(name="insula-test-one", version="1.0", py_modules=["one"])
