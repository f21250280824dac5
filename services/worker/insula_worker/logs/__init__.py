"""The worker's log: the shape of its lines, the window that clients read, and stdout."""
