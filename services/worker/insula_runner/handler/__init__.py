"""The user's class: how it is found and checked, and what it is given."""
