"""Finds and checks the user's class, and provides its arguments."""
