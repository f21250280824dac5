"""Builds the environment of a project: unpacks its files and installs its packages."""
