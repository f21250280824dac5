"""cortex.yaml: reads and checks it, and returns an ApiSpec for each API."""
