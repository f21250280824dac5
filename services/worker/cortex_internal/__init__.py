"""The package that handlers written for Cortex import. It has only the modules that Cortex' documentation names."""
