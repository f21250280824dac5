from setuptools import setup

setup(name="insula-test-whole", version="1.0", py_modules=["whole"])
