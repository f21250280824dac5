"""cortex.yaml: how it is read and checked, and the ApiSpec that it becomes."""
