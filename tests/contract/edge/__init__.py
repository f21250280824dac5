"""One package, so that what its files share ends with its last test."""
