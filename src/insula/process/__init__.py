"""Operating system processes: a service's own, its children, and how far a child is isolated."""
