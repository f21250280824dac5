"""The package handlers written for Cortex import from; only what its documentation names exists."""
