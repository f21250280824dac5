"""Redis, S3 and the disk: how they are reached, and what their failures are called."""
