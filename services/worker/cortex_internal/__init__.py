"""The package that handlers written for Cortex import. It has only what Cortex' documentation names."""
